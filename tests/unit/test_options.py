"""An option is declared in one place: flags, files, keywords, checks and documentation all come from there."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from saliency_tubes import explain
from saliency_tubes.engine.cuda import driver
from saliency_tubes.engine.draw.style import PRESETS, Style
from saliency_tubes.engine.errors import UsageError
from saliency_tubes.engine.options import Option, check_options, option
from saliency_tubes.engine.saliency import Normalize
from saliency_tubes.stream.app import arguments
from saliency_tubes.stream.app.arguments import Parser, add_run_arguments, config_of_keywords, known_options
from saliency_tubes.stream.app.config import Config
from saliency_tubes.stream.app.job import open_job
from saliency_tubes.stream.app.keywords import RunOptions
from saliency_tubes.stream.app.options import entries
from saliency_tubes.stream.app.reference import keywords, page
from saliency_tubes.stream.app.settings import differences, read_settings
from saliency_tubes.stream.net.address import Address
from saliency_tubes.stream.sinks.base import SinkOptions
from saliency_tubes.stream.sinks.open import open_sink
from saliency_tubes.stream.sources.base import SourceOptions
from saliency_tubes.stream.sources.open import open_source

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class MoreSinkOptions(SinkOptions):
    """What a new option takes: this field."""

    sharpness: int = option(3, "how sharp it is", metavar="N", at_least=1, at_most=9)


@dataclass(frozen=True)
class MoreConfig(Config):
    sink: SinkOptions = MoreSinkOptions()


class TestOnePlace:
    @pytest.fixture(autouse=True)
    def declared(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(arguments, "Config", MoreConfig)

    @staticmethod
    def by_flag(value: object, tmp_path: Path) -> Config:
        return read_settings(["a.mp4", f"--sharpness={value}"]).streams[0]

    @staticmethod
    def by_file(value: object, tmp_path: Path) -> Config:
        (tmp_path / "run.toml").write_text(f'input = "a.mp4"\nsharpness = {value}')
        return read_settings(["--config", str(tmp_path / "run.toml")]).streams[0]

    @staticmethod
    def by_keyword(value: object, tmp_path: Path) -> Config:
        return config_of_keywords("a.mp4", (), {"sharpness": value})

    @pytest.mark.parametrize("way", ["by_flag", "by_file", "by_keyword"])
    def test_it_is_read_and_checked(self, way: str, tmp_path: Path) -> None:
        made = getattr(self, way)(5, tmp_path)
        assert made.sink == MoreSinkOptions(sharpness=5)
        assert (made.sink.crf, made.source) == (19, SourceOptions())
        with pytest.raises(UsageError, match=r"sharpness must be 1 to 9, got 12$"):
            getattr(self, way)(12, tmp_path)

    def test_it_is_documented(self) -> None:
        parser = Parser()
        add_run_arguments(parser)
        words = " ".join(parser.format_help().split())
        assert "--sharpness N how sharp it is (default: 3)" in words[words.index("outputs: --encoder") :]
        of_streams = entries(MoreConfig)
        row = "| `--sharpness N` | 3 | 1 to 9 | how sharp it is | |\n"
        assert row in page(known_options(), of_streams).split("## Outputs\n")[1].split("## ")[0]
        assert '    sharpness: int | str\n    """how sharp it is (default: 3)"""\n' in keywords(of_streams)

    def test_a_change_of_it_is_named(self) -> None:
        old, new = (config_of_keywords("a.mp4", (), {"sharpness": value}) for value in (3, 4))
        assert differences(old, new) == ([], ["sharpness"])

    def test_a_typo_of_it_names_it(self, tmp_path: Path) -> None:
        says = r"no option is called 'sharpnes'; did you mean sharpness\b"
        with pytest.raises(UsageError, match=says):
            config_of_keywords("a.mp4", (), {"sharpnes": 3})
        (tmp_path / "run.toml").write_text("sharpnes = 3")
        with pytest.raises(UsageError, match=says):
            read_settings(["--config", str(tmp_path / "run.toml")])
        with pytest.raises(UsageError, match="unrecognized arguments: --sharpnss=3; did you mean --sharpness"):
            read_settings(["a.mp4", "--sharpnss=3"])


@pytest.mark.parametrize("path", ["docs/options.md", "stream/app/keywords.py"])
def test_what_is_generated_is_what_would_be(path: str) -> None:
    of_streams = entries(Config)
    text = page(known_options(), of_streams) if path.endswith(".md") else keywords(of_streams)
    assert (ROOT / path).read_text(encoding="utf-8") == text, "run `make reference`"


def test_every_option_has_words_and_a_heading() -> None:
    known = known_options()
    assert len(known) > 40
    assert [name for name, entry in known.items() if not (entry.declared.meaning and entry.group)] == []


def test_keywords_have_types() -> None:
    of_streams = entries(Config)
    hints = typing.get_type_hints(RunOptions)
    assert list(hints) == [entry.keyword for entry in of_streams.values()]
    assert (hints["max_age"], hints["rate"]) == (float | str, Fraction | str | None)
    assert Any not in hints.values()


class TestKeywords:
    def test_are_the_flags_with_other_dashes(self) -> None:
        made = config_of_keywords(
            "a.mp4",
            ("b.mp4",),
            {"frames": 16, "max_age": 1, "alpha": 0.3, "encoder_preset": "fast", "rtsp_user": "me", "tls_ca": "any"},
        )
        assert (made.input, made.outputs) == (Address.parse("a.mp4"), (Address.parse("b.mp4"),))
        assert (made.clip_length, made.max_age) == (16, 1)
        assert made.style == Style(alpha=0.3)
        assert made.sink == SinkOptions(preset="fast", user="me", tls_ca="any")
        assert made.source == SourceOptions(tls_ca="any")

    def test_may_be_given_as_text(self) -> None:
        text = {"size": "64x48", "rate": "30/7", "bitrate": "4M", "normalize": "volume"}
        typed = {"size": (64, 48), "rate": Fraction(30, 7), "bitrate": 4_000_000, "normalize": Normalize("volume")}
        assert config_of_keywords("a", (), text) == config_of_keywords("a", (), typed)

    def test_a_look_is_changed_by_the_rest(self) -> None:
        by_name = config_of_keywords("a", (), {"alpha": 0.1, "preset": "paper-keras"})
        by_style = config_of_keywords("a", (), {"preset": PRESETS["paper-keras"], "alpha": 0.1})
        assert by_name == by_style
        assert (by_name.style.alpha, by_name.style.add) == (0.1, True)

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"alfa": 1}, "no option is called 'alfa'; did you mean alpha"),
            ({"maxage": 1}, "no option is called 'maxage'; did you mean max_age"),
            ({"metrics": "9090"}, "no option is called 'metrics'"),
            ({"hop": 2.5}, "hop must be a whole number, got a float"),
            ({"hop": True}, "hop must be a whole number, got a bool"),
            ({"hop": "x"}, "hop must be a whole number, got 'x'"),
            ({"hop": 0}, "hop must be 1 or more, got 0"),
            ({"loop": "yes"}, "loop must be True or False, got a str"),
            ({"max_age": None}, "max_age must be a number, got a NoneType"),
            ({"size": 640}, r"size must be tuple\[int, int\] \| None, got a int"),
            ({"preset": "baroque"}, "preset must be one of default, .*, got 'baroque'"),
            ({"rtsp_password": 4711}, "rtsp_password must be Secret | str | None, got a int"),
            ({"precision": "int8"}, "precision must be one of auto, f32, bf16, got 'int8'"),
        ],
    )
    def test_what_is_wrong_is_said_at_once(self, wrong: dict[str, Any], says: str) -> None:
        with pytest.raises(UsageError, match=says):
            explain("a.mp4", **wrong)  # not even iterated


class TestFiles:
    def test_a_stream_may_take_back_what_stands_above_it(self, tmp_path: Path) -> None:
        stream = '[[stream]]\ninput = "{}.mp4"\noutputs = ["null://"]\n'
        text = "loop = true\n" + stream.format("a") + stream.format("b") + "loop = false\n"
        (tmp_path / "run.toml").write_text(text)
        path = str(tmp_path / "run.toml")
        assert [one.source.loop for one in read_settings(["--config", path]).streams] == [True, False]
        assert [one.source.loop for one in read_settings(["--config", path, "--loop"]).streams] == [True, True]


class TestOpening:
    """Values are made without looking at the machine; what they name is tried when a run opens."""

    def test_a_file_of_certificates(self) -> None:
        config = config_of_keywords("test://", ("null://",), {"tls_ca": "nowhere.pem"})
        says = r"^tls-ca must be a file of certificates, or any, got 'nowhere\.pem'$"
        with pytest.raises(UsageError, match=says):
            open_source(config.input, config.source)
        with pytest.raises(UsageError, match=says):
            open_sink(config.outputs[0], config.sink)
        with pytest.raises(UsageError, match=says):
            open_job(config).__enter__()

    def test_a_memory_that_is_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(driver, "why_not", lambda index: f"no GPU {index} here")
        config = Config("nothing.mp4", ("null://",), memory="cuda:3")
        says = "^frames cannot live on cuda:3: no GPU 3 here; use --memory host; 'saliency-tubes doctor' says what"
        with pytest.raises(UsageError, match=says), open_job(config):
            pass


@dataclass(frozen=True)
class Values:
    size: tuple[int, int] = option((1, 1), "", at_least=1)
    share: float = option(0.5, "", at_least=0.0, at_most=1.0)
    wait_for: float = option(1.0, "", unit="seconds", more_than=0)
    count: int = option(1, "", more_than=0, less_than=10)
    mode: str = option("a", "", choices=("a", "b"))
    kind: str = option("a", "", choices=("a", "b", "c"))
    none: int | None = option(None, "", at_least=1)
    word: str = option("x", "", flag="the-word", choices=("x", "y"))

    def __post_init__(self) -> None:
        check_options(self)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"size": (0, 9)}, "size must be 1x1 or more, got 0x9"),
        ({"share": 1.5}, "share must be between 0 and 1, got 1.5"),
        ({"share": float("nan")}, "share must be between 0 and 1, got nan"),
        ({"wait_for": 0}, "wait-for must be more than 0 seconds, got 0"),
        ({"wait_for": float("nan")}, "wait-for must be more than 0 seconds, got nan"),
        ({"count": 10}, "count must be more than 0, and less than 10, got 10"),
        ({"mode": "c"}, "mode must be a or b, got 'c'"),
        ({"kind": "d"}, "kind must be one of a, b, c, got 'd'"),
        ({"none": 0}, "none must be 1 or more, got 0"),
        ({"word": "hunter22"}, "the-word must be x or y, got 'hunter22'"),
    ],
)
def test_bounds_and_choices_are_checked_at_birth(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        Values(**wrong)
    assert str(caught.value) == says


def test_one_name_means_one_option() -> None:
    @dataclass(frozen=True)
    class Twice:
        crf: int = option(1, "another one")
        sink: SinkOptions = SinkOptions()

    with pytest.raises(ValueError, match="two options are called 'crf'"):
        entries(Twice)
    assert Option("x").accepted() == ""
