"""Where a run goes that names no output, and whether a browser is opened for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from saliency_tubes.engine.errors import SourceError, UsageError
from saliency_tubes.stream.app import default_outputs
from saliency_tubes.stream.app.browser import has_screen
from saliency_tubes.stream.app.config import Config
from saliency_tubes.stream.app.default_outputs import Completed, with_outputs
from saliency_tubes.stream.app.settings import read_settings
from saliency_tubes.stream.sources.base import SourceOptions
from saliency_tubes.stream.sources.v4l2 import VideoNode, first_camera

LIVE = ("rtsp://camera/live", "/dev/video0", "csi://0", "gst://videotestsrc is-live=true", "test://?realtime=1")


@pytest.fixture
def without_web(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default_outputs, "can_show_pages", lambda: False)


def outputs(completed: Completed) -> tuple[str, ...]:
    return tuple(map(str, completed.config.outputs))


@pytest.mark.parametrize("live", LIVE)
def test_a_live_input_goes_to_a_page(live: str) -> None:
    made = with_outputs(Config(live))
    assert outputs(made) == ("web://:8080",)
    assert made.is_page
    assert made.note == "no output is named: a live input goes to a page for browsers, web://:8080"


def test_a_file_that_plays_like_a_camera_is_live() -> None:
    made = with_outputs(Config("clip.mp4", source=SourceOptions(realtime=True)))
    assert outputs(made) == ("web://:8080",)


@pytest.mark.parametrize(
    ("name", "page"),
    [("door", "web://:8080/door"), ("front door/2", "web://:8080/front-door-2"), ("..", "web://:8080")],
)
def test_the_page_has_the_stream_s_name(name: str, page: str) -> None:
    assert outputs(with_outputs(Config("rtsp://camera/live", name=name))) == (page,)


@pytest.mark.parametrize(("file", "film"), [("a/clip.mp4", "clip.tubes.mp4"), ("100%d.mkv", "100d.tubes.mp4")])
def test_a_file_goes_to_a_film_without_a_word(file: str, film: str) -> None:
    made = with_outputs(Config(file))
    assert (outputs(made), made.note, made.is_page) == ((film,), "", False)


def test_what_is_named_stays() -> None:
    config = Config("rtsp://camera/live", ("null://",))
    assert with_outputs(config) == Completed(config)


def test_what_is_neither_a_file_nor_live_needs_an_output() -> None:
    with pytest.raises(UsageError, match=r"^no output: a stream needs one, as out\.mkv, .* or null://$"):
        with_outputs(Config("test://?frames=9"))


@pytest.mark.usefixtures("without_web")
@pytest.mark.parametrize("live", LIVE)
def test_without_the_web_server_a_stream_needs_an_output(live: str) -> None:
    wanted = r"^no output: a stream needs one, .*; to watch it in a browser: pip install 'saliency-tubes\[web\]'$"
    with pytest.raises(UsageError, match=wanted):
        with_outputs(Config(live))


@pytest.mark.usefixtures("without_web")
def test_without_the_web_server_a_file_in_real_time_goes_to_a_film() -> None:
    made = with_outputs(Config("clip.mp4", source=SourceOptions(realtime=True)))
    assert (outputs(made), made.is_page) == (("clip.tubes.mp4",), False)
    assert made.note.endswith("pip install 'saliency-tubes[web]'")


def test_the_streams_of_a_file_share_the_page(tmp_path: Path) -> None:
    path = tmp_path / "cameras.toml"
    path.write_text(
        '[[stream]]\nname = "door"\ninput = "rtsp://a/"\n'
        '[[stream]]\ninput = "rtsp://b/"\n'
        '[[stream]]\nname = "yard"\ninput = "rtsp://c/"\noutputs = ["null://"]\n'
    )
    settings = read_settings(["--config", str(path)])
    assert [[*map(str, one.outputs)] for one in settings.streams] == [
        ["web://:8080/door"],
        ["web://:8080/stream2"],
        ["null://"],
    ]
    assert [name for name, _ in settings.notes] == ["door", "stream2"]
    assert settings.offers_page


@pytest.mark.parametrize(
    ("environment", "platform", "has"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"DISPLAY": ""}, "linux", False),
        ({"DISPLAY": "localhost:10.0", "SSH_CONNECTION": "10.0.0.1 50000 10.0.0.2 22"}, "linux", False),
        ({"DISPLAY": ":0", "SSH_TTY": "/dev/pts/0"}, "linux", False),
        ({}, "darwin", True),
        ({"SSH_CONNECTION": "a"}, "darwin", False),
    ],
)
def test_a_browser_is_for_a_screen(environment: dict[str, str], platform: str, has: bool) -> None:
    assert has_screen(environment, platform) is has


# cameras


def found(nodes: dict[str, VideoNode | OSError]) -> str:
    def ask(device: str) -> VideoNode:
        node = nodes[device]
        if isinstance(node, OSError):
            raise node
        return node

    return first_camera(list(nodes), ask)


USB, FRAMES, SENSOR = VideoNode("uvcvideo", True), VideoNode("uvcvideo", False), VideoNode("tegra-video", True)
DENIED = PermissionError(13, "Permission denied")


@pytest.mark.parametrize(
    ("nodes", "camera"),
    [
        ({"/dev/video10": USB, "/dev/video2": USB}, "/dev/video2"),
        ({"/dev/video0": FRAMES, "/dev/video1": USB}, "/dev/video1"),
        ({"/dev/video0": DENIED, "/dev/video1": USB}, "/dev/video1"),
        ({"/dev/video0": SENSOR, "/dev/video1": USB}, "csi://0"),
        ({"/dev/video0": USB, "/dev/video1": SENSOR}, "/dev/video0"),
    ],
)
def test_the_first_camera_that_gives_pictures(nodes: dict[str, VideoNode | OSError], camera: str) -> None:
    assert found(nodes) == camera


def test_no_camera() -> None:
    with pytest.raises(SourceError, match="no camera at this machine"):
        found({"/dev/video0": FRAMES})
    with pytest.raises(SourceError, match="no camera that can be used: /dev/video0: Permission denied"):
        found({"/dev/video0": DENIED})


def test_what_is_no_camera_is_asked_all_the_same(tmp_path: Path) -> None:
    """The real question, to a file that cannot answer it."""
    (tmp_path / "video0").touch()
    with pytest.raises(SourceError, match=r"Inappropriate ioctl for device|not supported"):
        first_camera([str(tmp_path / "video0")])
