"""Text in any script: nothing vanishes, and what is read from right to left stands so."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saliency_tubes.engine.draw import fonts
from saliency_tubes.engine.draw.caption import Caption, draw_caption
from saliency_tubes.engine.draw.fonts import FOLDER, FONTS, LATIN
from saliency_tubes.engine.draw.lettering import MISSING, lettering, width_of
from saliency_tubes.engine.draw.notice import notice
from saliency_tubes.engine.draw.rtl import joined, spans, visual_order
from saliency_tubes.engine.draw.style import Style
from saliency_tubes.engine.picture import Layout, Picture

WORDS = {
    "ascii": "juggling soccer ball",
    "french": "Éducation à l'école, naïve œuvre",
    "greek": "Ελλάδα",
    "russian": "Россия",
    "vietnamese": "chơi bóng đá",
    "japanese": "サッカーボールを蹴る",
    "chinese": "足球",
    "korean": "축구",
    "arabic": "كرة القدم",
    "hebrew": "כדורגל",
    "hindi": "योग करना",
    "bengali": "ফুটবল",
    "tamil": "கால்பந்து",
    "thai": "ฟุตบอล",
    "khmer": "បាល់ទាត់",
    "amharic": "እግር ኳስ",
    "mongolian": "ᠪᠣᠮᠪᠦᠭᠡ",
    "gothic": "𐌰𐌱",
    "emoji": "⚽🏀😀",
    "marks": "x\u030c q\u0303",
    "unassigned": "\ue000\U000e0fff\ud800",
}


@pytest.fixture(params=[True, False], ids=["raqm", "basic"])
def raqm(request, monkeypatch):
    """With Pillow's raqm, where this machine has it, and without."""
    if request.param and not fonts.features.check("raqm"):
        pytest.skip("this Pillow has no raqm")
    monkeypatch.setattr(fonts.features, "check", lambda name: request.param)
    fonts.has_raqm.cache_clear()
    yield
    fonts.has_raqm.cache_clear()


def ink(image: np.ndarray) -> int:
    return int((image > 0.4).any(axis=0).sum())


@pytest.mark.parametrize("height", [9, 24, 72])
@pytest.mark.parametrize("name", WORDS)
def test_every_character_is_seen(name, height, raqm):
    """By itself, and the line as a whole has as much ink as so many thin letters."""
    text = WORDS[name]
    image = lettering(text, height)
    assert image.dtype == np.float32
    assert 0 <= image.min() <= image.max() <= 1
    seen = [char for char in text if not char.isspace() and not unicodedata.combining(char)]
    assert ink(image) >= 0.15 * height * len(seen)
    for char in seen:
        if unicodedata.category(char)[0] != "M":
            assert lettering(char, height).any(), char
    assert image.shape[1] == pytest.approx(width_of(text, height), abs=0.3 * height + 3)
    assert not image[:, -1].any()  # nothing is cut off


@pytest.mark.parametrize("name", [name for name in WORDS if name != "unassigned"])
def test_fonts_have_what_people_write(name):
    for char in WORDS[name]:
        assert fonts.font_of(char), (name, char)


def test_characters_that_no_font_has_are_boxes():
    box = lettering(MISSING, 24)
    for char in ("\ue000", "\U000e0fff", "\ud800", "\uffff"):
        np.testing.assert_array_equal(lettering(char, 24), box)
    assert box[:, 2:-2].any()


def test_accents_are_those_of_their_letters():
    np.testing.assert_array_equal(lettering("e\u0301", 24), lettering("é", 24))
    assert lettering("É", 24).shape[0] > lettering("E", 24).shape[0]
    assert ink(lettering("x\u030c", 24)) < 1.5 * ink(lettering("x", 24))  # above it, not beside it


@pytest.mark.parametrize("text", ["a\nb\tc", "a b c"])
def test_controls_are_spaces(text):
    np.testing.assert_array_equal(lettering(text, 20), lettering("a b c", 20))


def test_what_only_says_how_to_draw_is_not_drawn():
    np.testing.assert_array_equal(lettering("a\u200d\u200eb\ufe0f", 20), lettering("ab", 20))
    assert lettering("\u200d", 20).max() == 0
    assert lettering("", 20).shape[0] > 20


@pytest.mark.parametrize("height", [9.0, 12.5, 24.0, 72.0])
def test_capitals_are_as_high_as_asked(height):
    rows = np.flatnonzero((lettering("HEI", height) > 0.5).any(axis=1))
    assert rows[-1] - rows[0] + 1 == pytest.approx(height, abs=1)
    assert rows[0] <= 1


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=12), st.sampled_from([2.0, 9.0, 13.7]))
def test_any_text_is_drawn(text, height):
    image = lettering(text, height)
    assert image.ndim == 2
    assert min(image.shape) >= 1
    assert np.isfinite(image).all()


def test_a_caption_in_every_script_is_within_its_box():
    for text in (*WORDS.values(), "サッカーボールを蹴る" * 12, "كرة القدم " * 12):
        for size in ((320, 240), (1280, 720)):
            picture = Picture(Layout.RGB, (np.full((size[1], size[0], 3), 160, np.uint8),))
            draw_caption(picture, Caption(f"{text} 0.46", "0.0", "12.3"), Style())
            bright = np.argwhere(picture.planes[0].min(axis=2) > 200)
            dark = np.argwhere(picture.planes[0].min(axis=2) < 100)
            assert len(bright)
            assert bright[:, 1].max() < dark[:, 1].max()
            assert bright[:, 0].max() < dark[:, 0].max()


def test_japanese_is_broken_in_lines_though_it_has_no_spaces():
    picture = Picture(Layout.RGB, (np.full((240, 320, 3), 90, np.uint8),))
    draw_caption(picture, Caption("国" * 50 + " 0.46", "0.0", "12.3"), Style())
    bright = (picture.planes[0].min(axis=2) > 150).any(axis=1)
    rows = np.flatnonzero(bright)
    assert rows[-1] - rows[0] > 3 * 10


def test_a_notice_takes_any_script():
    made = [
        notice(Picture(Layout.RGB, (np.full((240, 320, 3), 160, np.uint8),)), text).planes[0]
        for text in ("信号なし 10:41:37", "信号 10:41:37")
    ]
    assert (made[0] != made[1]).any()


class TestRightToLeft:
    def test_a_name_is_one_thing_and_its_number_keeps_its_side(self):
        assert list(spans("كرة القدم 0.46 vs כדור 0.23")) == ["كرة القدم", " 0.46 vs ", "כדור", " 0.23"]
        assert list(spans("a 1")) == ["a 1"]
        assert list(spans("")) == []
        assert list(spans("א 12 ב")) == ["א 12 ב"]

    def test_order_on_the_line(self):
        assert visual_order("אבג") == "גבא"
        assert visual_order("א 12.5 ב") == "ב 12.5 א"
        assert visual_order("א(ב)") == "(ב)א"
        assert visual_order("בִּג") == "ג" + "בִּ"

    def test_arabic_letters_join(self):
        """Against the forms that Unicode's charts show: beh, teh and noon join both ways, alef and dal one way."""
        names = lambda text: [unicodedata.name(char).removeprefix("ARABIC LETTER ") for char in text]  # noqa: E731
        assert names(joined("بتن")) == ["BEH INITIAL FORM", "TEH MEDIAL FORM", "NOON FINAL FORM"]
        assert names(joined("باب")) == ["BEH INITIAL FORM", "ALEF FINAL FORM", "BEH ISOLATED FORM"]
        assert names(joined("دب")) == ["DAL ISOLATED FORM", "BEH ISOLATED FORM"]
        (ligature,) = joined("لا")
        assert unicodedata.name(ligature) == "ARABIC LIGATURE LAM WITH ALEF ISOLATED FORM"
        assert unicodedata.name(joined("بلا")[1]) == "ARABIC LIGATURE LAM WITH ALEF FINAL FORM"
        assert names(joined("بَت"))[::2] == ["BEH INITIAL FORM", "TEH FINAL FORM"]  # across a vowel mark
        assert joined("שלום abc 1") == "שלום abc 1"

    def test_it_is_as_harfbuzz_draws_it(self):
        """One glyph after the other in our order and forms, or shaped by raqm: nearly the same picture."""
        if not fonts.features.check("raqm"):
            pytest.skip("this Pillow has no raqm")
        from PIL import Image, ImageDraw, ImageFont

        for text in ("كرة القدم", "لعب الكرة", "כדורגל"):
            ours = lettering(text, 40)
            font = ImageFont.truetype(FOLDER / LATIN, 40 / fonts.CAPITAL, layout_engine=ImageFont.Layout.RAQM)
            image = Image.new("L", (ours.shape[1], ours.shape[0]))
            ImageDraw.Draw(image).text((1, ours.shape[0]), text, 255, font, anchor="ld", direction="rtl")
            theirs = np.asarray(image, np.float32) / 255
            a, b = (np.convolve(one.sum(axis=0), np.ones(9), "same") for one in (ours, theirs))
            assert np.corrcoef(a, b)[0, 1] > 0.97, text


class TestFonts:
    def test_the_folder_holds_these(self):
        assert sorted(path.name for path in FOLDER.iterdir() if path.suffix in (".ttf", ".otf")) == sorted(FONTS)

    @pytest.mark.parametrize("name", FONTS)
    def test_coverage_is_what_fonttools_reads(self, name):
        tools = pytest.importorskip("fontTools.ttLib")
        expected = set(tools.TTFont(FOLDER / name).getBestCmap())
        ranges = zip(*fonts.coverage(name), strict=True)
        assert {code for first, last in ranges for code in range(first, last + 1)} == expected
        ends = (min(expected) - 1, min(expected), max(expected), max(expected) + 1)
        assert [fonts.has(name, code) for code in ends] == [False, True, True, False]

    def test_they_may_be_given_on(self):
        """NOTICE names each family, and the package stays small."""
        text = (Path(__file__).parents[2] / "NOTICE").read_text(encoding="utf-8")
        for family in ("DejaVu Sans", "Noto Sans", "Noto Emoji", "Droid Sans Fallback", "Unifont"):
            assert family in text
        assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 9e6
