"""What waits for viewers: bounded, in order, and nothing that cannot be shown."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from saliency_tubes.stream.web import audience as module
from saliency_tubes.stream.web.audience import Audience, Viewer, Watched
from saliency_tubes.stream.web.media import Media


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 20))  # type: ignore[arg-type]


def frame(number: int, key: bool = False, size: int = 100, windows: tuple[int, ...] = ()) -> Media:
    return Media(number.to_bytes(4, "big") + bytes(size - 4), key, windows)


async def waiting(viewer: Viewer) -> list[str | bytes]:
    """All that waits for a viewer."""
    found: list[str | bytes] = []
    while True:
        try:
            found.append(await asyncio.wait_for(viewer.take(), 0.01))
        except asyncio.TimeoutError:
            return found


def numbers(messages: list[str | bytes]) -> list[int]:
    return [int.from_bytes(one[:4], "big") for one in messages if isinstance(one, bytes) and len(one) >= 100]


@pytest.fixture
def changes() -> list[Watched]:
    return []


@pytest.fixture
def made(changes: list[Watched]) -> Audience:
    return asyncio.run(_made(changes))


async def _made(changes: list[Watched]) -> Audience:
    return Audience(changes.append)


def join(audience: Audience, **how: Any) -> Viewer:
    viewer = Viewer(**how)
    audience.join(viewer)
    audience.play(viewer, lambda: "history")
    return viewer


def test_what_is_wanted_is_told_when_it_changes(made: Audience, changes: list[Watched]) -> None:
    first, second = join(made), join(made)
    without = join(made, wants_video=False)
    assert changes == [Watched(True, True, False, 1)]
    made.pause(first)
    made.pause(first)
    assert len(changes) == 1
    made.leave(second)
    assert changes[-1] == Watched(False, True, False, 1)
    made.leave(without)
    assert changes[-1] == Watched(False, False, False, 1)
    made.play(first, lambda: "history")
    assert changes[-1] == Watched(True, True, False, 2)  # a new session: what was made before is forgotten
    made.watch(1)
    assert changes[-1] == Watched(True, True, True, 2)


def test_a_viewer_that_is_too_slow_goes_on_at_a_key_frame(made: Audience) -> None:
    async def work() -> None:
        viewer = join(made)
        made.begin(b"init")
        made.window(1, b"window 1")
        made.media(frame(0, key=True, windows=(1,)))
        for number in range(1, module.MOST_FRAMES + 20):
            made.media(frame(number))
        made.window(2, b"window 2")
        made.say("status")
        made.media(frame(1000, key=True, windows=(1, 2)))
        made.media(frame(1001, windows=(2,)))
        found = await waiting(viewer)
        skip = module.MOST_FRAMES + 20
        assert found[:2] == ["history", b"init"]
        assert found[2] == "status"
        assert json.loads(found[3]) == {"type": "skip", "frames": skip}
        assert found[4:6] == [b"window 1", b"window 2"]
        assert numbers(found) == [1000, 1001]
        assert viewer.skipped == skip

    run(work)


def test_frames_that_are_skipped_twice_are_told_once(made: Audience) -> None:
    async def work() -> None:
        viewer = join(made)
        made.begin(b"init")
        for number in range(3 * module.MOST_FRAMES):
            made.media(frame(number, key=number % 100 == 0))
        made.media(frame(1000, key=True))
        found = await waiting(viewer)
        (skip,) = [json.loads(one) for one in found if isinstance(one, str) and "skip" in one]
        shown = numbers(found)
        assert skip["frames"] + len(shown) == 3 * module.MOST_FRAMES + 1
        assert viewer.skipped == skip["frames"]
        assert shown[0] % 100 == 0

    run(work)


def test_the_one_that_comes_later_has_the_video_from_the_last_key_frame_on(made: Audience) -> None:
    async def work() -> None:
        join(made)
        made.begin(b"init")
        made.window(1, b"window 1")
        made.window(2, b"window 2")
        for number in range(10):
            made.media(frame(number, key=number % 4 == 0, windows=(number // 8 + 1,)))
        late = join(made)
        found = await waiting(late)
        assert found[:3] == ["history", b"init", b"window 2"]  # of the windows those that it needs
        assert numbers(found) == [8, 9]

    run(work)


def test_pausing_and_playing_without_reading_piles_nothing_up(made: Audience) -> None:
    async def work() -> None:
        other, viewer = join(made), join(made)
        viewer.say("hello")
        made.begin(b"init")
        made.media(frame(0, key=True))
        for _ in range(1000):
            made.pause(viewer)
            made.play(viewer, lambda: "history" * 1000)
        found = await waiting(viewer)
        assert found[:3] == ["hello", "history" * 1000, b"init"]
        assert numbers(found) == [0]
        assert len(found) == 4
        made.leave(other)

    run(work)


@given(some.lists(some.sampled_from(["key", "frame", "large", "window", "read", "pause", "play"]), max_size=400))
def test_whatever_happens_frames_follow_their_key_frame_and_windows_their_frames(steps: list[str]) -> None:
    async def work() -> None:
        audience = Audience(lambda watched: None)
        keeper, viewer = join(audience), join(audience)
        audience.begin(b"init")
        found: list[str | bytes] = []
        keys: set[int] = {0}
        audience.media(frame(0, key=True))
        count = 0
        for step in steps:
            if step == "window":
                audience.window(count, f"window {count}".encode())
            elif step == "read":
                found += await waiting(viewer) if viewer.waiting else []
            elif step == "pause":
                audience.pause(viewer)
            elif step == "play":
                audience.play(viewer, lambda: "history")
            else:
                count += 1
                keys |= {count} if step == "key" else set()
                audience.media(frame(count, step == "key", 2 << 20 if step == "large" else 100))
            assert viewer.waiting <= module.MOST_BYTES + (2 << 20) + 10_000
        found += await waiting(viewer)
        before = None
        for number in numbers(found):
            assert number in keys or number - 1 == before
            before = number
        audience.leave(keeper)

    run(work)


def test_pictures_are_the_newest_and_the_end_ends_the_wait(made: Audience) -> None:
    async def work() -> None:
        assert await made.next(-1, 0.01) is None
        made.show(0, b"zero")
        made.show(1, b"one")
        assert await made.next(-1, 1) == (1, b"one")
        asking = asyncio.ensure_future(made.next(1, 10))
        await asyncio.sleep(0)
        made.show(2, b"two")
        assert await asking == (2, b"two")
        asking = asyncio.ensure_future(made.next(2, 10))
        await asyncio.sleep(0)
        made.end("over")
        assert await asking is None

    run(work)
