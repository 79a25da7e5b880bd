"""A run from a TOML file: the same names as the flags, flags win, and what is wrong is said by name."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from saliency_tubes.engine.draw.style import PRESETS
from saliency_tubes.engine.errors import UsageError
from saliency_tubes.stream.app.config import Config, ProcessOptions
from saliency_tubes.stream.app.settings import differences, read_settings
from saliency_tubes.stream.net.secret import Secret
from saliency_tubes.stream.sinks.base import SinkOptions
from saliency_tubes.stream.sources.base import SourceOptions

SECRET = "hunter22"


def settings(tmp_path: Path, text: str, *words: str):
    path = tmp_path / "live.toml"
    path.write_text(text)
    return read_settings(["--config", str(path), *words])


def names(config: Config) -> tuple[str, tuple[str, ...]]:
    """Input and outputs, as they are shown."""
    return str(config.input), tuple(map(str, config.outputs))


def test_without_a_file():
    (one,) = read_settings(["in.mp4", "out.mp4", "--alpha", "0.3", "--encoder", "x264", "--size", "640x480"]).streams
    assert (*names(one), one.style.alpha) == ("in.mp4", ("out.mp4",), 0.3)
    assert (one.sink.encoder, one.source.size, one.sync) == ("x264", (640, 480), "auto")
    assert one.sink.preset is None  # the look's preset is another one


@pytest.mark.parametrize(
    ("words", "outputs"),
    [
        ("in.mp4 --hop 4 out.mp4", ("out.mp4",)),
        ("--hop 4 in.mp4 a.mp4 --loop b.mkv - --crf 20", ("a.mp4", "b.mkv", "-")),
        ("in.mp4 --hop 4 -", ("-",)),
        ("in.mp4 --hop 4", ("in.tubes.mp4",)),
        ("--hop=4 in.mp4", ("in.tubes.mp4",)),
    ],
)
def test_options_may_stand_anywhere(words, outputs):
    (one,) = read_settings(words.split()).streams
    assert (*names(one), one.hop) == ("in.mp4", outputs, 4)


def test_names_that_begin_with_a_dash():
    (one,) = read_settings(["--hop", "4", "--", "-a.mp4", "-b.mp4"]).streams
    assert (*names(one), one.hop) == ("-a.mp4", ("-b.mp4",), 4)


def test_what_is_no_option():
    with pytest.raises(UsageError, match="unrecognized arguments: --foo"):
        read_settings(["in.mp4", "--foo", "out.mp4"])


def test_the_names_of_the_flags(tmp_path):
    text = """
        input = "rtsp://camera/live"
        outputs = ["out.mkv", "null://"]
        max-age = 3
        overlay_threads = 2
        threshold = 0.4
        normalize = "fixed:-1:2"
        timings = true
        loop = false
        transport = "udp"
        segment-bytes = "500M"
        metrics = 9090
        log-format = "json"
        log-level = "warning"
    """
    made = settings(tmp_path, text)
    (one,) = made.streams
    assert names(one) == ("rtsp://camera/live", ("out.mkv", "null://"))
    assert (one.max_age, one.overlay_threads, one.style.threshold, one.timings) == (3, 2, 0.4, True)
    assert (one.style.normalize.low, one.style.normalize.high) == (-1, 2)
    assert (one.source.transport, one.source.loop, one.sink.segment_bytes) == ("udp", False, 500_000_000)
    assert made.process == ProcessOptions("9090", "json", "warning")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"input = {'[' * 5000}{']' * 5000}", "nested too deeply"),
        (f"input = {'[' * 100}{']' * 100}", "input must be text, got a list"),
        (f"input = 'x'\noutputs = [{'[' * 100}'hunter22'{']' * 100}]", "outputs must be a list of texts$"),
    ],
)
def test_nested_values_are_one_line(tmp_path, text, says):
    with pytest.raises(UsageError, match=says) as caught:
        settings(tmp_path, text)
    assert "\n" not in str(caught.value)
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize("rate", ["1e9999999", "25/0", "x", "0.1e-9999999"])
def test_a_rate_is_written_as_people_write_it(rate, tmp_path):
    """What Python's fractions understand besides would be computed for hours."""
    with pytest.raises(UsageError, match=f"frames a second, as 25 or 30000/1001, got '{rate}'"):
        read_settings(["a.mp4", f"--rate={rate}"])
    assert read_settings(["a.mp4", "--rate=30000/1001"]).streams[0].source.rate == Fraction(30_000, 1001)


def test_flags_win(tmp_path):
    text = 'input = "a.mp4"\noutputs = ["b.mp4"]\nalpha = 0.2\nthreshold = 0.3'
    (one,) = settings(tmp_path, text, "--alpha", "0.9").streams
    assert (one.style.alpha, one.style.threshold, str(one.input)) == (0.9, 0.3, "a.mp4")
    path = tmp_path / "live.toml"
    (two,) = read_settings(["c.mp4", "d.mp4", "--config", str(path)]).streams
    assert names(two) == ("c.mp4", ("d.mp4",))


def test_several_streams(tmp_path):
    text = """
        model = "i3d"
        frames = 16
        alpha = 0.4
        [[stream]]
        name = "door"
        input = "rtsp://a/1"
        outputs = ["door.mkv"]
        [[stream]]
        input = "rtsp://b/1"
        outputs = ["null://"]
        alpha = 0.7
    """
    one, two = settings(tmp_path, text).streams
    assert (one.name, two.name) == ("door", "stream2")
    assert (one.style.alpha, two.style.alpha) == (0.4, 0.7)
    assert one.clip_length == two.clip_length == 16


STREAM = '[[stream]]\nname = "a"\ninput = "in.mp4"\noutputs = ["null://"]\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("alfa = 1", "no option is called 'alfa'; did you mean alpha"),
        ('alpha = "much"', "alpha"),
        ("alpha = true", "alpha must be a value"),
        ("loop = 1", "loop must be true or false"),
        ("alpha = [1]", "alpha must be one value"),
        ("input = 3", "input must be text"),
        ('outputs = [1]\ninput = "a"', "outputs must be a list of texts"),
        ('input = "${NOT_THERE}"', "no variable NOT_THERE"),
        ("= 1", "not TOML"),
        ("alpha = 2\ninput = 'a.mp4'", "alpha must be between 0 and 1"),
        ("config = 'x'", "no option is called 'config'"),
        ("", "no input"),
        ('name = ["a"]\ninput = "a"', "name must be text, got a list"),
        (STREAM + "config = 'x'", "no option is called 'config'"),
        ('input = "a\\u0000.mp4"', "input must not hold a NUL character"),
        ('input = "a.mp4"\ntls-ca = "a\\u0000"', "tls-ca must not hold a NUL character"),
        ('input = "a.mp4"\nencoder-preset = "foo"', "encoder-preset must be one of ultrafast, .*, got 'foo'"),
        (STREAM.replace('"a"', '["a"]'), "name must be text, got a list"),
        ('input = "test://?frames=9"', "no output"),
        ("stream = 3", r"\[\[stream\]\] tables"),
        (STREAM + STREAM, "two streams are called 'a'"),
        (STREAM + 'model = "i3d"', "model belongs above"),
        (STREAM + "batch = 2", "batch belongs above"),
        (STREAM + "metrics = 9090", "metrics belongs above"),
    ],
)
def test_what_is_wrong_is_named(text, says, tmp_path):
    with pytest.raises(UsageError, match=says) as found:
        settings(tmp_path, text)
    assert "live.toml" in str(found.value)


def two_streams(one: str, other: str) -> str:
    """Two tables with an output each; the first one's input is a, the second one's b.mkv."""
    return f'[[stream]]\ninput = "a"\noutputs = ["{one}"]\n[[stream]]\ninput = "b.mkv"\noutputs = ["{other}"]'


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x.mkv", "x.mkv"),
        ("./x.mkv", "x.mkv"),
        ("rec/%Y.mkv", "rec/../rec/%Y.mkv"),
        ("rtsp://@:8554/x", "rtsp://@127.0.0.1:8554/x"),
        ("rtsp://@/x", "rtsp://@:8554/x"),
        ("rtsp://@:8554/x", "rtsp://127.0.0.1:8554/x"),
        ("web://", "web://127.0.0.1:8080/"),
        ("web://:8080", "web://:8080/live"),
    ],
)
def test_two_streams_that_write_to_one_place(one, other, tmp_path):
    with pytest.raises(UsageError, match="stream2 and stream1 have an output in common: "):
        settings(tmp_path, two_streams(one, other))
    both = f'[[stream]]\ninput = "a"\noutputs = ["{one}", "{other}"]'
    with pytest.raises(UsageError, match="is also another output"):
        settings(tmp_path, both)


def test_a_stream_that_writes_to_what_another_one_reads(tmp_path):
    with pytest.raises(UsageError, match=r"\./b\.mkv is an output of stream1 and the input of stream2"):
        settings(tmp_path, two_streams("./b.mkv", "x.mkv"))


@pytest.mark.parametrize("uri", ["null://", "-", "hook+http://h/?class=yoga"])
def test_what_several_streams_may_share(uri, tmp_path):
    assert len(settings(tmp_path, two_streams(uri, uri)).streams) == 2


def test_no_such_file():
    with pytest.raises(UsageError, match=r"nowhere\.toml: No such file"):
        read_settings(["--config", "nowhere.toml"])


def test_a_password_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("CAMERA_PASSWORD", SECRET)
    (one,) = settings(tmp_path, 'input = "rtsp://me:${CAMERA_PASSWORD}@camera/"\noutputs = ["null://"]').streams
    assert one.input.full.reveal() == f"rtsp://me:{SECRET}@camera/"
    assert SECRET not in repr(one)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        (
            f"rtsp://me:{SECRET}@camera:99999/",
            r"rtsp://me:\*\*\*@camera:99999/: the port must be a number",
        ),
        (f"rtsp://me:{SECRET}", r"rtsp://me:\*\*\*: the port must be a number from 1 to 65535"),
        (f"file://me:{SECRET}@h/x", r"file://me:\*\*\*@h/x: a file:// address names no host"),
        (f"rtsp://me:12/{SECRET}@camera", "can be read in two ways"),
    ],
)
def test_an_address_that_is_none_is_told_when_the_file_is_read(tmp_path, address, says):
    """Whichever of several streams it belongs to: the others would run without it, for as long as nobody looks."""
    good, bad = '[[stream]]\ninput = "a.mp4"\n', f'[[stream]]\ninput = "{address}"\noutputs = ["null://"]\n'
    with pytest.raises(UsageError, match=rf"live\.toml: .*{says}") as caught:
        settings(tmp_path, good + bad)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_who_may_watch(tmp_path):
    text = f'input = "a.mp4"\noutputs = ["null://"]\nrtsp-user = "me"\nrtsp-password = "{SECRET}"'
    made = settings(tmp_path, text)
    (one,) = made.streams
    assert (one.sink.user, one.sink.password) == ("me", Secret(SECRET))
    (other,) = read_settings(["a.mp4", "null://", "--rtsp-user", "me", "--rtsp-password", "p@ss:w/d"]).streams
    assert (other.sink.user, other.sink.password) == ("me", Secret("p@ss:w/d"))
    assert SECRET not in repr(made.streams)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_frame_is_drawn_where_one_is_asked_for(tmp_path, preset):
    text = f'input = "a.mp4"\noutputs = ["null://"]\npreset = "{preset}"\n'
    for more, words, expected in (("", (), False), ("frame = true", (), True), ("frame = false", ("--frame",), True)):
        (one,) = settings(tmp_path, text + more, *words).streams
        assert one.style == replace(PRESETS[preset], frame=expected)
    with pytest.raises(UsageError, match="frame must be true or false, got 32"):
        settings(tmp_path, text + "frame = 32")


def test_what_can_change_live(tmp_path):
    hook = "hook+http://h/p?class={}&over=0.5"
    (old,) = settings(tmp_path, f'input = "a.mp4"\noutputs = ["null://", "{hook.format("yoga")}"]').streams
    assert differences(old, old) == ([], [])
    assert differences(old, replace(old, style=replace(old.style, alpha=0.1), max_age=9.0)) == (
        ["max-age", "alpha"],
        [],
    )
    assert differences(old, replace(old, style=replace(old.style, frame=True))) == (["frame"], [])
    paper = replace(old, style=PRESETS["paper-keras"], source=SourceOptions(retries=3))
    assert differences(old, paper) == (["preset"], ["retries"])
    sink = SinkOptions(encoder="x264", keep="5", preset="fast", user="me", password="p", tls_ca="any")
    assert differences(old, replace(old, sink=sink, source=SourceOptions(tls_ca="any"), overlay_threads=2)) == (
        [],
        ["overlay-threads", "tls-ca", "encoder", "encoder-preset", "keep", "rtsp-user", "rtsp-password"],
    )
    assert differences(old, replace(old, hop=3, explain="yoga")) == (["explain"], ["hop"])
    assert differences(old, replace(old, outputs=("null://", hook.format("zumba")))) == (["rules"], [])
    assert differences(old, replace(old, outputs=("x.mp4",))) == ([], ["outputs"])
