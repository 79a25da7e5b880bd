"""The channel between two threads: bounded, in order, ended, stopped."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from saliency_tubes.stream.pipeline.channel import Channel, Stopped

LONG = 5.0
"""seconds after which a thread is taken for hung"""


@contextmanager
def running(*work: Callable[[], object]) -> Iterator[list[threading.Thread]]:
    """Runs each in a thread, and fails where one does not come back."""
    threads = [threading.Thread(target=one, daemon=True) for one in work]
    for thread in threads:
        thread.start()
    yield threads
    for thread in threads:
        thread.join(LONG)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"


def put_all(channel: Channel[int], items: range) -> None:
    for item in items:
        channel.put(item)
    channel.end()


def test_in_order_from_one_thread_to_another():
    channel: Channel[int] = Channel(3)
    got: list[int] = []
    with running(lambda: put_all(channel, range(500)), lambda: got.extend(channel)):
        pass
    assert got == list(range(500))
    assert channel.dropped == 0


def test_a_full_channel_makes_the_writer_wait():
    channel: Channel[int] = Channel(2)
    third = threading.Event()

    def write() -> None:
        for item in range(3):
            channel.put(item)
        third.set()
        channel.end()

    with running(write) as (writer,):
        assert not third.wait(0.1), "a third item went into a channel of two"
        assert writer.is_alive()
        items = iter(channel)
        assert next(items) == 0
        assert third.wait(LONG)
        assert list(items) == [1, 2]


def test_newest_wins_loses_the_oldest_and_counts():
    channel: Channel[int] = Channel(2, newest_wins=True)
    put_all(channel, range(10))  # never waits
    assert list(channel) == [8, 9]
    assert channel.dropped == 8


def test_nothing_is_lost_without_count():
    channel: Channel[int] = Channel(1, newest_wins=True)
    got: list[int] = []
    with running(lambda: put_all(channel, range(2000)), lambda: got.extend(channel)):
        pass
    assert len(got) + channel.dropped == 2000
    assert got == sorted(got)
    assert got[-1] == 1999


def test_it_ends_with_its_last_writer():
    channel: Channel[int] = Channel(2, writers=3)
    got: list[int] = []
    parts = [range(100), range(100, 150), range(150, 151)]
    writers = [lambda part=part: put_all(channel, part) for part in parts]
    with running(*writers, lambda: got.extend(channel)):
        pass
    assert sorted(got) == list(range(151))
    for part in parts:  # each writer's own order is kept
        assert [item for item in got if item in part] == list(part)


def test_a_reader_waits_for_the_last_writer():
    channel: Channel[int] = Channel(2, writers=2)
    done = threading.Event()

    def read() -> None:
        assert list(channel) == []
        done.set()

    with running(read):
        channel.end()
        assert not done.wait(0.1)
        channel.end()
        assert done.wait(LONG)


def test_an_empty_channel_that_ended():
    channel: Channel[int] = Channel(1)
    channel.end()
    assert list(channel) == []
    assert list(channel) == []


def test_stop_wakes_a_waiting_writer():
    channel: Channel[int] = Channel(1)
    channel.put(0)
    waiting, stopped = threading.Event(), threading.Event()

    def write() -> None:
        waiting.set()
        with pytest.raises(Stopped):
            channel.put(1)
        stopped.set()

    with running(write):
        assert waiting.wait(LONG)
        assert not stopped.wait(0.05)
        channel.stop()
        assert stopped.wait(LONG)


def test_stop_wakes_a_waiting_reader():
    channel: Channel[int] = Channel(1)
    stopped = threading.Event()

    def read() -> None:
        with pytest.raises(Stopped):
            next(iter(channel))
        stopped.set()

    with running(read):
        assert not stopped.wait(0.05)
        channel.stop()
        assert stopped.wait(LONG)


@pytest.mark.parametrize("newest_wins", [False, True])
def test_a_stopped_channel_stays_stopped(newest_wins):
    channel: Channel[int] = Channel(2, newest_wins)
    channel.put(0)
    channel.stop()
    channel.stop()
    with pytest.raises(Stopped):
        channel.put(1)
    with pytest.raises(Stopped):
        next(iter(channel))
    channel.end()
    with pytest.raises(Stopped):
        list(channel)


def test_the_channel_is_free_while_an_item_is_worked_on():
    """`yield` happens outside the lock: a slow reader must not hold up the writer."""
    channel: Channel[int] = Channel(1)
    channel.put(0)
    for item in channel:
        if item == 0:
            with running(lambda: channel.put(1)):
                pass
            channel.end()
        else:
            assert item == 1


@pytest.mark.parametrize("wrong", [{"capacity": 0}, {"capacity": -1}, {"capacity": 1, "writers": 0}])
def test_wrong_sizes(wrong):
    with pytest.raises(ValueError, match="1 or more, got"):
        Channel(**wrong)
