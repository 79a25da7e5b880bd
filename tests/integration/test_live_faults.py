"""The same faults again and again, through a whole pipeline: each is recovered from, every frame is accounted for."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from memories import Memory, memory_of, over
from proxy import Proxy
from saliency_tubes.engine.picture import HOST
from saliency_tubes.stream.sources.base import SourceOptions
from saliency_tubes.stream.sources.gst_feed import available
from saliency_tubes.stream.sources.open import open_source
from servers import NOISE, RtspServer, open_files, python_with_gi, resident
from viewer import Viewer
from waiting import wait_for

pytestmark = pytest.mark.skipif(python_with_gi() is None, reason="no Python here has GstRtspServer (make system-deps)")

BACK = 2.0
"""seconds from a server's return to the first frame that leaves the pipeline"""
NOTICED = 3.0
"""seconds from a server's freezing to the source's noticing"""
SETTLED = 10
"""rounds after which memory is compared: allocators have taken by then what they keep"""


@dataclass
class Place:
    """A server, the line to it, and who watches."""

    server: RtspServer
    proxy: Proxy
    viewer: Viewer
    backs: list[float] = field(default_factory=list)
    """seconds to the first frame after each fault"""

    def back(self, within: float = BACK) -> None:
        """The server is well again: frames come, soon."""
        self.backs.append(self.viewer.more(within=within))

    def lost(self, within: float = NOTICED) -> None:
        wait_for(lambda: not self.viewer.source.health().connected, within)
        self.viewer.drain()  # what was on its way is no sign of a server that is back


def kill(at: Place, turn: int) -> None:
    """The server dies and comes back."""
    at.server.kill()
    at.lost()
    at.server.start()
    at.back()


def freeze(at: Place, turn: int) -> None:
    """It stands still, connections open, and goes on."""
    at.server.freeze()
    at.lost()
    at.server.thaw()
    at.back()


def resize(at: Place, turn: int) -> None:
    """The camera restarts with another size."""
    at.server.kill()
    at.lost()
    at.server.start(size=["480x272", "320x240"][turn % 2])
    at.back()
    assert any("all else is scaled to fit 320x240" in line for line in at.viewer.source.remarks)


def recode(at: Place, turn: int) -> None:
    """The camera restarts with another codec and rate."""
    codec = ["jpeg", "h265", "h264"][turn % 3]
    at.server.kill()
    at.lost()
    at.server.start(codec=codec, rate=15 if codec == "h265" else 30)
    at.back()
    if codec == "h265":
        assert any("the rate changes from 30 to 15 fps" in line for line in at.viewer.source.remarks)


def slow(at: Place, turn: int) -> None:
    """A tenth of the stream gets through for a second; nothing does for a second; nothing until it is given up."""
    kind, before = turn % 3, at.viewer.source.reconnects
    at.proxy.slow(0 if kind else 25_000)
    if kind == 2:
        at.lost()
    else:
        time.sleep(1.0)
    at.proxy.slow(None)
    at.back()
    # What was held up has come, and the picture is of now again.
    wait_for(lambda: at.viewer.source.health().lag < 0.3, BACK)
    assert at.viewer.source.reconnects == before + (kind == 2)


def damage(at: Place, turn: int) -> None:
    """Half a second of lost, damaged and truncated packets."""
    _spoil(at)
    at.back()


def tear(at: Place, turn: int) -> None:
    """Packets that end before their length says so: what follows is taken for the rest of them."""
    _spoil(at)
    # Libraries look for the next packet in vain: a silence that has to be noticed first, or, where one was torn while
    # they connected, an attempt that runs out of time.
    at.back(within=SourceOptions().open_timeout + BACK)


def _spoil(at: Place) -> None:
    before = at.proxy.spoiled
    at.proxy.active = True
    wait_for(lambda: at.proxy.spoiled >= before + 8)
    at.proxy.active = False


def login(at: Place, turn: int) -> None:
    """The password is changed at the server, which asks for it when it restarts, and is put right again."""
    at.server.kill()
    at.lost()
    start, attempts, denied = time.monotonic(), at.proxy.accepted, at.proxy.denied
    at.server.start(password="changed")
    wait_for(lambda: "wrong user or password" in at.viewer.source.health().state, BACK)
    if turn:
        wait_for(lambda: at.proxy.accepted >= attempts + 2, 4)
    attempts, denied = at.proxy.accepted - attempts, at.proxy.denied - denied
    assert attempts <= 2 + (time.monotonic() - start), "it hammers"
    assert denied <= 4 * (attempts + 1), "it hammers"
    wait_for(lambda: "wrong user or password" in at.viewer.source.health().state, BACK)
    at.server.kill()
    at.server.start(password="hush")
    at.back()
    source = at.viewer.source
    assert not any("hush" in text for text in (source.last_error, source.health().state, source.name, *source.remarks))


Fault = Callable[[Place, int], None]
RECONNECTS: dict[Fault, float] = {kill: 1, freeze: 1, resize: 1, recode: 1, slow: 1 / 3, damage: 0, tear: 0, login: 1}
"""how often each makes the source connect anew, at least"""
SERVERS: dict[Fault, dict[str, Any]] = {
    slow: {"launch": NOISE},
    damage: {"launch": NOISE},
    tear: {"launch": NOISE},
    login: {"user": "me", "password": "hush"},
}
SPOILED: dict[Fault, dict[str, float]] = {damage: {"drop": 0.03, "flip": 0.03, "cut": 0.03}, tear: {"tear": 0.05}}
"""shares of the packets"""


def repeat(fault: Fault, backend: str, memory: Memory, rounds: int, **options: Any) -> None:
    asked = SERVERS.get(fault, {})
    with RtspServer(**asked) as server, Proxy(server.port, **SPOILED.get(fault, {})) as proxy:
        proxy.active = False
        with Viewer(proxy.url("me:hush" if fault is login else ""), memory, backend=backend, **options) as viewer:
            place = Place(server, proxy, viewer)
            viewer.more(10)
            for turn in range(rounds):
                if turn in (1, SETTLED):
                    before = _left()
                fault(place, turn)
            source = viewer.source
            print(f"{fault.__name__} {backend}: {rounds} rounds, back after {_told(place.backs)};", end=" ")
            seen = viewer.sink.frames_written
            print(f"{source.reconnects} reconnects, {source.health().errors} errors, {seen} frames,", end=" ")
            print(f"{viewer.dropped} dropped")
            assert source.reconnects >= int(rounds * RECONNECTS[fault])
            assert source.health().errors <= viewer.sink.frames_written  # of the decoder, and of nobody else
            assert viewer.sink.gaps + viewer.dropped >= source.reconnects
            if rounds > 1:
                _compare(before, _settled(before))


def _told(seconds: list[float]) -> str:
    ranked = sorted(seconds)
    return f"{ranked[len(ranked) // 2]:.2f} s (median), {ranked[-1]:.2f} s (longest)"


def _left() -> tuple[int, int, int]:
    gc.collect()
    return open_files(), len(list(Path("/proc/self/task").iterdir())), resident()  # libraries' threads as well


def _settled(before: tuple[int, int, int]) -> tuple[int, int, int]:
    """What is there once the threads of the last connection, which may be on their way out, are gone."""
    seen = [_left()]
    with suppress(AssertionError):
        wait_for(lambda: seen[-1][1] <= before[1] + 2 or seen.append(_left()), 5)
    return seen[-1]


def _compare(before: tuple[int, int, int], after: tuple[int, int, int]) -> None:
    memory = f"memory {(after[2] - before[2]) / 2**20:+.1f} MiB"
    print(f"files {before[0]} -> {after[0]}, threads {before[1]} -> {after[1]}, {memory}")
    assert after[0] <= before[0] + 4, "file handles are left over"
    assert after[1] <= before[1] + 2, "threads are left over"
    assert after[2] - before[2] < 24 << 20, "memory is left over"


@pytest.fixture
def way(request: pytest.FixtureRequest) -> Iterator[tuple[str, Memory]]:
    """What reads the stream, and where its frames live."""
    backend, where = request.param
    if backend == "gst" and not available():
        pytest.skip("this Python has no GStreamer: link the system's gi package into it")
    with memory_of(where, request) as memory:
        yield backend, memory


def cases(faults: Iterable[Fault], quick: Iterable[Fault] = ()) -> pytest.MarkDecorator:
    """Each fault with each way. quick: those that make test has on a GPU too."""
    quick, marks = set(quick), {True: [], False: [pytest.mark.slow]}
    found = [
        pytest.param(
            fault, case.values, id=f"{fault.__name__}-{case.id}", marks=marks[case.values[1] == HOST or fault in quick]
        )
        for fault in faults
        for case in over(["av", "gst"])
    ]
    return pytest.mark.parametrize(("fault", "way"), found, indirect=["way"])


@cases(RECONNECTS, quick=[kill])
def test_faults(fault: Fault, way: tuple[str, Memory]) -> None:
    # The default's two seconds of silence are for make test-slow, and for a clock that needs no time in test_live.py.
    rounds = 1 if fault in (freeze, slow, tear, login) else 2
    repeat(fault, *way, rounds, stall=1.5 if fault is slow else 0.6)


@cases([kill, freeze])
def test_faults_over_udp(fault: Fault, way: tuple[str, Memory]) -> None:
    repeat(fault, *way, 1, stall=0.6, transport="udp")


@pytest.mark.slow
@cases([kill, freeze])
def test_a_hundred_faults_over_udp(fault: Fault, way: tuple[str, Memory]) -> None:
    repeat(fault, *way, 100, transport="udp")


@pytest.mark.slow
@cases(RECONNECTS)
def test_a_hundred_faults(fault: Fault, way: tuple[str, Memory]) -> None:
    repeat(fault, *way, 100)


@pytest.fixture(scope="module")
def warm() -> None:
    """What GStreamer keeps open once and for all is there before anything is counted."""
    with RtspServer() as server:
        for backend in ["av", *["gst"] * available()]:
            open_source(server.url(), SourceOptions(backend=backend)).close()


@pytest.fixture(autouse=True)
def nothing_left(warm: None) -> Iterator[None]:
    """No file handle stays open once the source and the server are gone."""
    before = open_files()
    yield
    gc.collect()
    wait_for(lambda: open_files() <= before + 1, 3)
