// H.264 by WebRTC into a video element, where the server offers it (WHEP) and the network lets it through.

import type { Player } from "./player";

/** Milliseconds from the offer to the first picture; then there is no way through. */
const PATIENCE = 3000;
/** RTP timestamps are counted modulo this. */
const WRAP = 2 ** 32;

/** Media time in seconds of an RTP timestamp. origin: the timestamp of time 0. clock: ticks a second. near: a time that is
 * less than half a turn of the timestamps away from it, seconds. */
export function timeOfRtp(timestamp: number, origin: number, clock: number, near: number): number {
  const turn = WRAP / clock;
  const time = modulo(timestamp - origin, WRAP) / clock;
  return time + Math.round((near - time) / turn) * turn;
}

/** Connects while it plays and the page is seen; else it costs nothing. */
export class WebRtc {
  private peer: RTCPeerConnection | null = null;
  private resource = "";
  private timer = 0;
  private playing = false;

  /** near: a media time that is not far from the present. failed: is called once, with the reason in words. */
  constructor(
    private readonly stream: string,
    private readonly player: Player,
    private readonly near: () => number,
    private readonly failed: (why: string) => void,
  ) {
    document.addEventListener("visibilitychange", this.seen);
    addEventListener("pagehide", this.hang);
  }

  play(): void {
    this.playing = true;
    this.seen();
  }

  pause(): void {
    this.playing = false;
    this.hang();
  }

  close(): void {
    this.pause();
    document.removeEventListener("visibilitychange", this.seen);
    removeEventListener("pagehide", this.hang);
    this.player.endStream();
  }

  private readonly seen = (): void => {
    if (!this.playing || document.hidden) this.hang();
    else if (!this.peer) void this.connect();
  };

  private readonly hang = (): void => {
    clearTimeout(this.timer);
    const { peer, resource } = this;
    this.peer = null;
    this.resource = "";
    peer?.close();
    if (resource) void fetch(resource, { method: "DELETE", keepalive: true }).catch(() => undefined);
  };

  private async connect(): Promise<void> {
    const peer = new RTCPeerConnection();
    this.peer = peer;
    this.timer = setTimeout(() => this.giveUp(peer, "no picture came by WebRTC"), PATIENCE);
    peer.onconnectionstatechange = () => {
      if (peer.connectionState === "failed") this.giveUp(peer, "the connection by WebRTC broke");
    };
    try {
      await this.shake(peer);
    } catch (error) {
      this.giveUp(peer, error instanceof Error ? error.message : String(error));
    }
  }

  /** Offers, and shows what comes. */
  private async shake(peer: RTCPeerConnection): Promise<void> {
    const { receiver } = peer.addTransceiver("video", { direction: "recvonly" });
    // As soon as it is there: the tube is drawn on the frame that is shown, however late that is.
    if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
    await peer.setLocalDescription();
    const answer = await fetch(new URL(`api/streams/${encodeURIComponent(this.stream)}/whep`, document.baseURI), {
      method: "POST",
      headers: { "Content-Type": "application/sdp" },
      body: peer.localDescription?.sdp,
    });
    const text = await answer.text();
    if (answer.status !== 201) throw new Error(text.trim());
    const resource = new URL(answer.headers.get("Location") ?? "", document.baseURI).href;
    if (peer !== this.peer) {
      void fetch(resource, { method: "DELETE" }).catch(() => undefined);
      return;
    }
    this.resource = resource;
    await peer.setRemoteDescription({ type: "answer", sdp: text });
    const told = (await (await fetch(resource)).json()) as { origin: number | null; clock: number };
    const { origin, clock } = told;
    if (peer !== this.peer) return;
    if (origin === null) throw new Error("no picture came by WebRTC");
    clearTimeout(this.timer);
    this.player.playStream(new MediaStream([receiver.track]), (timestamp) => timeOfRtp(timestamp, origin, clock, this.near()));
  }

  private giveUp(peer: RTCPeerConnection, why: string): void {
    if (peer !== this.peer) return;
    this.pause();
    this.failed(why);
  }
}

function modulo(value: number, by: number): number {
  return ((value % by) + by) % by;
}
