"""WebRTC by WHEP: the packets of the one encoder, to aiortc as the other side."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from fractions import Fraction
from http.client import HTTPMessage
from itertools import pairwise
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from barcodes import read_barcode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from livepage import Served, serve
from pages import Page
from saliency_tubes.engine.errors import SinkError
from saliency_tubes.stream.media.info import VideoInfo
from saliency_tubes.stream.sinks.base import SinkOptions
from saliency_tubes.stream.sinks.open import open_sink
from saliency_tubes.stream.web.peers import PEERS
from waiting import wait_for

pytest.importorskip("aiortc")

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

WHEP = "/api/streams/live/whep"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serve(web_rtc=True) as found:
        yield found


@pytest.fixture(autouse=True)
def alone(served: Served) -> Iterator[None]:
    """Nobody watches before a test, and nobody after it."""
    yield
    wait_for(lambda: not served.sink.viewers and not served.sink.wants_plain)


def ask(
    served: Served, method: str, path: str = WHEP, body: str | None = None, kind: str = "application/sdp"
) -> tuple[int, HTTPMessage, str]:
    """Status, headers and body of an answer."""
    url = f"http://127.0.0.1:{served.port}{path}"
    data = body.encode() if body is not None else None
    request = Request(url, data, {"Content-Type": kind}, method=method)
    try:
        with urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode()


async def make_offer(connection: RTCPeerConnection) -> str:
    connection.addTransceiver("video", "recvonly")
    await connection.setLocalDescription(await connection.createOffer())
    return str(connection.localDescription.sdp)


class Watcher:
    """aiortc as a viewer."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))

    async def connect(self) -> None:
        offer = await make_offer(self.connection)
        status, headers, self.answer = await asyncio.to_thread(ask, self._served, "POST", WHEP, offer)
        assert (status, headers["Content-Type"]) == (201, "application/sdp")
        self.resource = headers["Location"]
        await self.connection.setRemoteDescription(RTCSessionDescription(self.answer, "answer"))
        self.receiver = self.connection.getReceivers()[0]

    async def frames(self, count: int) -> list[Any]:
        """The next frames, decoded."""
        return [await asyncio.wait_for(self.receiver.track.recv(), 20) for _ in range(count)]

    async def ask(self, method: str) -> tuple[int, HTTPMessage, str]:
        return await asyncio.to_thread(ask, self._served, method, self.resource)


def watch(served: Served, work: Callable[..., Awaitable[Any]], viewers: int = 1) -> Any:
    """What `work` gives for so many viewers that are connected."""

    async def run() -> Any:
        watchers = [Watcher(served) for _ in range(viewers)]
        try:
            for watcher in watchers:
                await watcher.connect()
            return await work(*watchers)
        finally:
            for watcher in watchers:
                await watcher.connection.close()

    return asyncio.run(run())


def numbers_of(frames: list[Any]) -> list[int | None]:
    return [read_barcode(frame.to_ndarray(format="gray")) for frame in frames]


def test_frames_come_in_their_order_and_at_their_times(served: Served) -> None:
    frames = watch(served, lambda watcher: watcher.frames(40))
    numbers = numbers_of(frames)
    assert None not in numbers
    assert numbers == sorted(set(numbers))
    first, (ticks, *_) = numbers[0], [frame.pts for frame in frames]
    # test:// has 25 frames a second, RTP 90,000 ticks
    assert [frame.pts - ticks for frame in frames] == [(number - first) * 3600 for number in numbers]


def test_all_viewers_get_what_was_encoded_once(served: Served) -> None:
    async def work(*watchers: Watcher) -> int:
        await asyncio.gather(*(watcher.frames(1) for watcher in watchers))
        encoded = served.sink.frames_written
        begun = await asyncio.gather(*(watcher.frames(1) for watcher in watchers))
        ended = await asyncio.gather(*(watcher.frames(50) for watcher in watchers))
        shown = max(numbers_of([frames[-1] for frames in ended])) - min(numbers_of([frames[0] for frames in begun]))  # type: ignore[type-var, operator]
        return served.sink.frames_written - encoded - shown

    # frames may be on their way, but they are none of another viewer's
    assert abs(watch(served, work, viewers=3)) < 30


def test_the_answer_names_the_profile_that_is_sent(served: Served) -> None:
    async def work(watcher: Watcher) -> str:
        await watcher.frames(1)
        return watcher.answer

    with Page.open(served.port) as page:
        codec = page.until("init")["codec"]
        answer = watch(served, work)
    lines = answer.splitlines()
    (section,) = [line for line in lines if line.startswith("m=")]
    first = section.split()[3]
    assert f"a=rtpmap:{first} H264/90000" in lines
    (parameters,) = [line for line in lines if line.startswith(f"a=fmtp:{first} ")]
    assert "packetization-mode=1" in parameters
    assert "profile-level-id=42e0" in parameters
    assert codec.startswith("avc1.42c0")
    assert "a=sendonly" in lines


def test_a_page_is_told_of_the_frames_that_it_gets_by_webrtc(served: Served) -> None:
    async def work(watcher: Watcher) -> list[Any]:
        await watcher.frames(1)
        with Page.open(served.port, query="?video=webrtc") as page:
            hello = page.until("hello")
            told = [page.until("frames") for _ in range(30)]
            return [hello, told, page.all("media"), page.all("window")]

    hello, told, media, windows = watch(served, work)
    assert hello["web_rtc"] is True
    assert media == []
    facts = [frame for message in told for frame in message["frames"]]
    assert [frame["t"] for frame in facts] == pytest.approx([frame["i"] / 25 for frame in facts])
    known = {window["n"] for window in windows}
    assert {number for frame in facts for number, _ in frame["parts"]} <= known


def test_a_page_that_has_no_webrtc_yet_makes_no_video(served: Served) -> None:
    with Page.open(served.port, query="?video=webrtc") as page:
        page.until("status")
        assert not served.sink.wants_plain


def test_the_first_frame_is_soon_there_and_a_lost_one_is_replaced(served: Served) -> None:
    """A key frame comes each second, but nobody waits for that: who joins or asks gets one within half a second."""

    async def work(watcher: Watcher) -> list[float]:
        await watcher.frames(1)
        (source,) = watcher.receiver.getSynchronizationSources()
        for _ in range(4):
            await asyncio.sleep(0.6)
            await watcher.receiver._send_rtcp_pli(source.source)
        return []

    with Page.open(served.port) as page:
        page.until("media", lambda told: told["key"])
        watch(served, work)
        keys = [told["frames"][0]["t"] for told in page.all("media") if told["key"]]
        while len(keys) < 6:
            page.until("media", lambda told: told["key"])
            keys = [told["frames"][0]["t"] for told in page.all("media") if told["key"]]
    apart = [round(after - before, 3) for before, after in pairwise(keys)]
    assert min(apart) >= 0.5
    assert [length for length in apart if length < 0.95]


def test_the_origin_of_timestamps_is_told(served: Served) -> None:
    async def work(watcher: Watcher) -> tuple[int, HTTPMessage, str]:
        await watcher.frames(1)
        return await watcher.ask("GET")

    status, _, body = watch(served, work)
    told = json.loads(body)
    assert status == 200
    assert told["clock"] == 90_000
    assert 0 <= told["origin"] < 1 << 32


def test_delete_ends_it(served: Served) -> None:
    async def work(watcher: Watcher) -> list[int]:
        await watcher.frames(1)
        return [(await watcher.ask("DELETE"))[0], (await watcher.ask("DELETE"))[0], (await watcher.ask("GET"))[0]]

    assert watch(served, work) == [204, 404, 404]


def test_who_leaves_without_a_word_costs_nothing(served: Served) -> None:
    watch(served, lambda watcher: watcher.frames(1))
    wait_for(lambda: not served.sink.wants_plain)
    encoded = served.sink.frames_written
    time.sleep(0.5)
    assert served.sink.frames_written == encoded


def test_who_never_connects_is_forgotten(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from saliency_tubes.stream.web import av_rtp

    monkeypatch.setattr(av_rtp, "PATIENCE", 0.5)
    status, headers, _ = ask(served, "POST", WHEP, offer_of_nobody())
    assert status == 201
    assert not served.sink.wants_plain
    wait_for(lambda: ask(served, "GET", headers["Location"])[0] == 404)


def offer_of_nobody() -> str:
    async def run() -> str:
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        try:
            return await make_offer(connection)
        finally:
            await connection.close()

    return asyncio.run(run())


def test_so_many_and_no_more(served: Served) -> None:
    offer = offer_of_nobody()
    made = [ask(served, "POST", WHEP, offer) for _ in range(PEERS)]
    assert [status for status, *_ in made] == [201] * PEERS
    status, headers, why = ask(served, "POST", WHEP, offer)
    assert (status, headers["Retry-After"]) == (503, "10")
    assert "too many" in why
    for _, headers, _ in made:
        assert ask(served, "DELETE", headers["Location"])[0] == 204


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ("v=0", "text/plain", 415),
        ("", "application/sdp", 400),
        ("v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n", "application/sdp", 400),
        ("v=0\r\n" * 20_000, "application/sdp", 413),
    ],
)
def test_what_is_no_offer_is_refused_in_one_line(served: Served, body: str, kind: str, status: int) -> None:
    found, _, why = ask(served, "POST", WHEP, body, kind)
    assert found == status
    assert why.count("\n") <= 1
    assert "Traceback" not in why


def test_without_h264_there_is_no_agreement(served: Served) -> None:
    offer = offer_of_nobody().replace("H264", "AV1")
    assert ask(served, "POST", WHEP, offer)[0] == 400


def test_audio_and_data_are_not_answered(served: Served) -> None:
    offer = offer_of_nobody()
    assert ask(served, "POST", WHEP, offer + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n")[0] == 400


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_offer_breaks_the_server(served: Served, data: st.DataObject) -> None:
    lines = offer_of_nobody().splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        lines[at] = data.draw(
            st.sampled_from(["", lines[at][: len(lines[at]) // 2], lines[at] + " 1", "a=x", lines[0]])
        )
    status, headers, _ = ask(served, "POST", WHEP, "\r\n".join(lines) + "\r\n")
    assert status in (201, 400)
    if status == 201:
        assert ask(served, "DELETE", headers["Location"])[0] == 204


def test_a_stream_without_it_says_so() -> None:
    with serve() as served, Page.open(served.port, query="?video=webrtc") as page:
        assert page.until("hello")["web_rtc"] is False
        page.until("media")  # it gets the video in the other way
        status, _, why = ask(served, "POST", WHEP, "v=0")
    assert status == 404
    assert "--web-rtc" in why


def test_the_end_of_the_stream_ends_it() -> None:
    async def work(served: Served, watcher: Watcher) -> str:
        await watcher.connect()
        await watcher.frames(1)
        await asyncio.to_thread(served.close)
        for _ in range(100):
            if watcher.connection.connectionState == "closed":
                break
            await asyncio.sleep(0.05)
        return str(watcher.connection.connectionState)

    async def run() -> str:
        served = await asyncio.to_thread(Served, web_rtc=True)
        watcher = Watcher(served)
        try:
            return await work(served, watcher)
        finally:
            await watcher.connection.close()

    assert asyncio.run(run()) == "closed"


def test_aiortc_is_asked_for_in_one_line(monkeypatch: pytest.MonkeyPatch, served: Served) -> None:
    import saliency_tubes.stream.web as room

    monkeypatch.setitem(sys.modules, "aiortc", None)
    monkeypatch.delitem(sys.modules, "saliency_tubes.stream.web.av_rtp")
    monkeypatch.delattr(room, "av_rtp")
    sink = open_sink("web://:0", SinkOptions(web_rtc=True))
    with pytest.raises(SinkError, match=r"--web-rtc needs aiortc: pip install 'saliency-tubes\[web-rtc\]'$"):
        sink.open(VideoInfo(64, 48, Fraction(1, 25), Fraction(25)))
