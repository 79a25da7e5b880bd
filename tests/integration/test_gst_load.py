"""GStreamer beside everything else in one process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from saliency_tubes.stream.media import gst_load
from saliency_tubes.stream.media.gst_load import Missing, load

PROGRAM = """
from saliency_tubes.stream.media.gst_load import load
load("GstApp", "GstVideo")
import onnx
try:
    onnx.checker.check_model(b"no model")
except Exception as error:
    print("caught")
"""


def test_exceptions_of_cpp_libraries_loaded_after_it_are_caught() -> None:
    pytest.importorskip("onnx", reason="needs onnx, whose checker throws")
    try:
        load("GstApp", "GstVideo")
    except Missing as missing:
        pytest.skip(str(missing))
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "caught\n"), done.stderr


def binding(folder: Path, *tags: str) -> Path:
    """A folder that looks like the system's gi, built for these versions of Python."""
    made = folder / "gi"
    made.mkdir()
    (made / "__init__.py").write_text("from . import inner\n")
    (made / "inner.py").write_text("")
    for tag in tags:
        (made / f"_gi.cpython-{tag}-x86_64-linux-gnu.so").write_text("")
    return made


@pytest.fixture
def no_gi(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a virtual environment, which does not look into the system's packages."""

    def refuse(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(gst_load, "import_module", refuse)
    for name in [name for name in sys.modules if name.partition(".")[0] == "gi"]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.usefixtures("no_gi")
def test_the_systems_binding_is_seen_from_a_virtual_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = binding(tmp_path, "{}{}".format(*sys.version_info))
    monkeypatch.setattr(gst_load, "SYSTEM_BINDING", folder)
    gi = gst_load.find_binding()
    try:
        assert Path(gi.__file__).parent == Path(gi.inner.__file__).parent == folder
    finally:
        sys.modules.pop("gi.inner")
        sys.modules.pop("gi")


@pytest.mark.usefixtures("no_gi")
@pytest.mark.parametrize(
    ("tags", "says"),
    [
        ((), "^needs GStreamer and its Python binding: apt-get install "),
        (("27", "399"), "for Python 2.7 and 3.99, and"),
    ],
)
def test_a_binding_that_is_missing_or_of_another_python(
    tags: tuple[str, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gst_load, "SYSTEM_BINDING", binding(tmp_path, *tags))
    with pytest.raises(Missing, match=says) as caught:
        gst_load.find_binding()
    assert ("apt-get" in str(caught.value)) == (not tags)
