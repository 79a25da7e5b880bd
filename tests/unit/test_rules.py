"""When a webhook fires: against time written out by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saliency_tubes.engine.errors import UsageError
from saliency_tubes.stream.net.address import Address
from saliency_tubes.stream.net.redact import redact
from saliency_tubes.stream.sinks.rules import Rule, Watch, check_rules, hooks, place_of_hook
from saliency_tubes.stream.telemetry.events import Event
from stubs import make_event


def said(time: float, p: float, name: str = "yoga", explained: str | None = None) -> Event:
    return make_event(end=time, p=p, name=name, explained=explained)


def fired(watch: Watch, *windows: tuple[float, float]) -> list[float]:
    return [time for time, p in windows if watch.push(said(time, p))]


def test_it_must_last():
    rule = Rule("yoga", 0.7, 3, cooldown=60)
    assert fired(Watch(rule), (0, 0.8), (1, 0.8), (2, 0.8), (3, 0.7), (4, 0.9)) == [3]
    assert fired(Watch(rule), (0, 0.8), (1, 0.8), (2, 0.6), (3, 0.8), (5, 0.8), (6, 0.8)) == [6]


def test_without_a_duration_one_window_is_enough():
    assert fired(Watch(Rule("yoga", 0.7)), (0, 0.6), (1, 0.7), (2, 0.9)) == [1]


def test_the_cooldown():
    watch = Watch(Rule("yoga", 0.5, 0, cooldown=10))
    assert fired(watch, *((float(time), 0.9) for time in range(25))) == [0, 10, 20]


def test_windows_far_apart_are_not_one_stretch():
    rule = Rule("yoga", 0.5, 3)
    assert fired(Watch(rule), (0, 0.9), (1, 0.9), (60, 0.9), (61, 0.9)) == []  # an outage between
    assert fired(Watch(rule), (0, 0.9), (4, 0.9)) == [4]


def test_a_clock_set_back_does_not_silence_it_for_ever():
    watch = Watch(Rule("yoga", 0.5, 0, cooldown=60))
    assert fired(watch, (5000, 0.9), (1, 0.9), (2, 0.9)) == [5000, 1]


@pytest.mark.parametrize("other", [Rule("zumba", 0.7, 3), Rule("yoga", 0.6, 3)])
def test_another_class_or_probability_starts_anew(other):
    watch = Watch(Rule("yoga", 0.7, 3))
    assert fired(watch, *((float(time), 0.9) for time in range(4))) == [3]
    watch = watch.under(other)
    assert watch.rule == other
    both = [said(time, 0.9, explained="zumba") for time in range(4, 9)]
    assert [event.time[1] for event in both if watch.push(event)] == [7]  # neither at once, nor after yoga's minute


def test_another_duration_or_cooldown_goes_on():
    watch = Watch(Rule("yoga", 0.7, 3, cooldown=60))
    assert fired(watch, (0, 0.9), (1, 0.9)) == []
    watch = watch.under(Rule("yoga", 0.7, 2, cooldown=60))
    assert fired(watch, (2, 0.9), (3, 0.9)) == [2]
    watch = watch.under(Rule("yoga", 0.7, 2, cooldown=5))
    assert fired(watch, (4, 0.9), (6, 0.9), (7, 0.9)) == [7]
    assert watch.under(Rule("yoga", 0.7, 2, cooldown=5)) is watch


def test_which_class():
    one = said(0, 0.9)
    assert one.probability("Yoga") == one.probability("7") == one.probability("07") == 0.9
    assert one.probability("zumba") == 0
    assert said(0, 0.9, explained="zumba").probability("zumba") == 0.9
    assert said(0, float("nan")).probability("yoga") == 0
    assert said(0, 0.69999999).probability("yoga") == 0.7  # as its JSON says


THOUSANDTHS = st.integers(0, 1000).map(lambda count: count / 1000)


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.floats(0.1, 4), THOUSANDTHS), max_size=40), st.floats(0.2, 1), st.floats(0, 6),
    st.floats(0, 20),
)  # fmt: skip
def test_against_brute_force(steps, over, seconds, cooldown):
    times, now = [], 0.0
    for step, p in steps:
        now = round(now + step, 6)
        times.append((now, p))
    expected: list[float] = []
    for i, (time, p) in enumerate(times):
        run = i
        while run > 0 and times[run - 1][1] >= over:
            run -= 1
        cool = not expected or time - expected[-1] >= cooldown
        if p >= over and time - times[run][0] >= seconds and cool:
            expected.append(time)
    assert fired(Watch(Rule("yoga", over, seconds, cooldown)), *times) == expected


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, "needs a class"),
        ({"class": "a", "over": "0.1"}, "over must be 0.2 to 1"),
        ({"class": "a", "over": "much"}, "over must be a number"),
        ({"class": "a", "for": "-1"}, "0 seconds or more"),
        ({"class": "a", "cooldown": "inf"}, "0 seconds or more"),
    ],
)
def test_wrong_rules(values, says):
    with pytest.raises(UsageError, match=says):
        Rule.parse(values)


def test_the_example_is_shown_as_it_is():
    with pytest.raises(UsageError) as found:
        Rule.parse({})
    assert redact(str(found.value)) == str(found.value)


@pytest.mark.parametrize(
    ("label", "says"),
    [
        ("yogaa", "no class 'yogaa' among the model's 2; did you mean 'yoga'?"),
        ("2", "no class 2: classes go from 0 to 1"),
        ("top1", "a webhook watches one class, by name or index, got 'top1'"),
        ("yoga:zumba", "a webhook watches one class, by name or index, got 'yoga:zumba'"),
        ("yoga&over=7", "over must be 0.2 to 1, got 7"),
    ],
)
def test_rules_that_the_model_at_hand_never_fires(label, says):
    with pytest.raises(UsageError) as found:
        check_rules(["out.mp4", f"hook+https://me:hush@h/p?class={label}"], ["yoga", "zumba"])
    assert str(found.value).endswith(f": {says}")
    assert "hook+https://me:***@h/***" in str(found.value)


@pytest.mark.parametrize("label", ["Yoga", "%20yoga", "0", "01", "dance:zumba"])
def test_rules_that_it_may(label):
    check_rules([f"hook+https://h/p?class={label}"], ["yoga", "dance:zumba"])


def test_a_webhook_without_its_rule():
    assert place_of_hook("hook+https://h/p?class=a&over=0.3&x=1") == place_of_hook("hook+https://h/p?class=b&x=1")
    assert place_of_hook("hook+https://h/p?class=a&x=1") != place_of_hook("hook+https://h/p?class=a&x=2")
    assert place_of_hook("out.mp4") == Address.parse("out.mp4")
    assert hooks(["hook+http://h/", "http://h/", "HOOK+https://h/"]) == [
        Address.parse("hook+http://h/"),
        Address.parse("HOOK+https://h/"),
    ]
