"""Which encoder is chosen, and that a choice is only ever one that works."""

from __future__ import annotations

from pathlib import Path

import pytest
from saliency_tubes.engine.errors import UsageError
from saliency_tubes.stream.media import av_encoder
from saliency_tubes.stream.media.encoders import ABSENT, choose, default_bitrate

KNOWN = ("h264_nvenc", "h264_v4l2m2m", "libx264")


def test_the_first_that_encodes_wins_and_the_others_are_named() -> None:
    tried: list[str] = []

    def probe(name: str) -> str | None:
        tried.append(name)
        return None if name == "libx264" else "no device"

    chosen = choose("auto", KNOWN, probe)
    assert chosen.name == "libx264"
    assert chosen.passed_over == (("h264_nvenc", "no device"), ("h264_v4l2m2m", "no device"))
    assert tried == list(KNOWN)


@pytest.mark.parametrize(("wanted", "name"), [("nvenc", "h264_nvenc"), ("x264", "libx264"), ("libx264", "libx264")])
def test_by_family_and_by_name(wanted: str, name: str) -> None:
    assert choose(wanted, KNOWN, lambda _: None).name == name


def test_what_was_asked_for_is_never_replaced() -> None:
    with pytest.raises(UsageError, match="h264_nvenc: no device"):
        choose("nvenc", KNOWN, lambda _: "no device")


def test_an_unknown_one_is_answered_with_the_known() -> None:
    with pytest.raises(UsageError, match=r"auto, nvenc, .*libx264, got 'divx'"):
        choose("divx", KNOWN, lambda _: None)


def test_the_real_probes() -> None:
    assert av_encoder.probe("libx264") is None
    assert av_encoder.probe("h264_nothing") == ABSENT
    # Listed in every wheel, and no device of its kind in most machines: whatever it says, it is said without raising.
    assert isinstance(av_encoder.probe("h264_v4l2m2m"), str | None)
    assert av_encoder.choose_encoder("x264").name == "libx264"


def test_only_hardware_that_is_here_can_fail(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(av_encoder, "probe", lambda name: None if name == "libx264" else "no driver")
    for there, notes in ((False, ()), (True, ("h264_nvenc does not work here: no driver",))):
        monkeypatch.setattr(av_encoder, "_DEVICES", {"h264_nvenc": str(tmp_path / "nvidia[0-9]*")})
        (tmp_path / "nvidia0").touch() if there else None
        av_encoder.choose_encoder.cache_clear()
        assert av_encoder.choose_encoder("auto").notes == notes
    av_encoder.choose_encoder.cache_clear()


def test_bits_by_size() -> None:
    assert default_bitrate(1280, 720, 30) == 3_317_760
    assert default_bitrate(16, 16, 1) == 200_000
