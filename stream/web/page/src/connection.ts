// The WebSocket of one stream, opened again and again until it is closed here.

import type { Message } from "./protocol";
import { ProtocolError, decode } from "./protocol";
import { Signal, Store } from "./store";

export interface Link {
  state: "connecting" | "open" | "waiting" | "closed";
  /** why there is no connection, in words; "" where there is one */
  why: string;
  /** milliseconds of `Date.now()` at which the next attempt begins; 0 where there is none to come */
  retry: number;
}

const FIRST_WAIT = 500;
const LONGEST_WAIT = 8000;
/** Milliseconds after which an attempt that has neither opened nor failed is given up. */
const PATIENCE = 8000;
/** Milliseconds without any message after which the server is taken for lost: it says something each second. */
const SILENCE = 12000;

export class Connection {
  readonly link = new Store<Link>({ state: "closed", why: "", retry: 0 });
  readonly messages = new Signal<Message>();
  private socket: WebSocket | null = null;
  private wait = FIRST_WAIT;
  private timer = 0;
  private goodbye = "";

  constructor(private url: string) {}

  open(): void {
    clearTimeout(this.timer);
    this.link.set({ state: "connecting", why: this.link.get().why, retry: 0 });
    const socket = new WebSocket(this.url);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.goodbye = "";
    this.expect(PATIENCE);
    socket.onopen = () => {
      this.expect(SILENCE);
      this.link.set({ state: "open", why: "", retry: 0 });
    };
    socket.onmessage = (event: MessageEvent<string | ArrayBuffer>) => this.take(socket, event.data);
    socket.onclose = (event) => this.lost(socket, this.goodbye || event.reason || "the server does not answer");
  }

  /** Goes on at another address, unless it is there already. */
  reopen(url: string): void {
    if (url === this.url) return;
    this.url = url;
    this.close();
    this.open();
  }

  close(): void {
    clearTimeout(this.timer);
    const socket = this.socket;
    this.socket = null;
    socket?.close();
    this.link.set({ state: "closed", why: "", retry: 0 });
  }

  send(message: { type: "play" | "pause" } | { type: "behind"; seconds: number }): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  private take(socket: WebSocket, data: string | ArrayBuffer): void {
    if (socket !== this.socket) return;
    this.expect(SILENCE);
    try {
      const message = decode(data);
      if (message.type === "hello") this.wait = FIRST_WAIT;
      if (message.type === "bye") this.goodbye = message.why;
      this.messages.emit(message);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.lost(socket, `the server sent ${error.message}`);
    }
  }

  /** Gives this connection up if nothing comes within so many milliseconds. */
  private expect(milliseconds: number): void {
    clearTimeout(this.timer);
    const socket = this.socket;
    this.timer = setTimeout(() => socket && this.lost(socket, "the server has fallen silent"), milliseconds);
  }

  private lost(socket: WebSocket, why: string): void {
    if (socket !== this.socket) return;
    clearTimeout(this.timer);
    this.socket = null;
    socket.close();
    const wait = this.wait * (0.75 + Math.random() / 2);
    this.wait = Math.min(2 * this.wait, LONGEST_WAIT);
    this.link.set({ state: "waiting", why, retry: Date.now() + wait });
    this.timer = setTimeout(() => this.open(), wait);
  }
}

/** How the video is to come: in the messages, by WebRTC, or not at all. */
export type VideoBy = "messages" | "webrtc" | "none";

/** The address of a stream's WebSocket, beside this page. */
export function liveAddress(stream: string, video: VideoBy = "messages", page: string = document.baseURI): string {
  const url = new URL(`api/streams/${encodeURIComponent(stream)}/live`, page);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.hash = "";
  url.search = video === "messages" ? "" : `?video=${video}`;
  return url.href;
}
