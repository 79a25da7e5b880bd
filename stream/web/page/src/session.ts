// One stream, as this page knows it: the connection, and what has come of it.

import type { VideoBy } from "./connection";
import { Connection, liveAddress } from "./connection";
import type { FrameFacts, Hello, Init, Media, Message, Skip, Status } from "./protocol";
import { Signal, Store } from "./store";
import { Windows } from "./windows";

export class Session {
  readonly connection: Connection;
  readonly hello = new Store<Hello | null>(null);
  readonly status = new Store<Status | null>(null);
  readonly windows = new Windows();
  readonly init = new Signal<Init>();
  readonly media = new Signal<Media>();
  /** something is known of frames whose pictures come by WebRTC */
  readonly frames = new Signal<void>();
  readonly skipped = new Signal<Skip>();
  /** the server's encoder has failed; why, in words */
  readonly noVideo = new Signal<string>();
  /** indices of frames before which others are missing */
  readonly gaps: number[] = [];
  private wanted = true;
  private run: string | null = null;

  constructor(
    readonly name: string,
    video: VideoBy = "messages",
  ) {
    this.connection = new Connection(liveAddress(name, video));
    this.connection.messages.on((message) => this.take(message));
    document.addEventListener("visibilitychange", this.tell);
    this.connection.open();
  }

  /** Whether media are asked for; a page that is hidden never asks. */
  want(media: boolean): void {
    if (media === this.wanted) return;
    this.wanted = media;
    this.tell();
  }

  /** Gets the video in another way from now on. */
  getVideo(by: VideoBy): void {
    this.connection.reopen(liveAddress(this.name, by));
  }

  close(): void {
    document.removeEventListener("visibilitychange", this.tell);
    this.connection.close();
  }

  private readonly tell = (): void => {
    this.connection.send({ type: this.wanted && !document.hidden ? "play" : "pause" });
  };

  private take(message: Message): void {
    switch (message.type) {
      case "hello":
        this.greet(message);
        break;
      case "history":
        this.windows.addHistory(message);
        break;
      case "window":
        this.windows.addWindow(message);
        break;
      case "mark":
        this.windows.addMark(message);
        break;
      case "status":
        this.status.set(message);
        break;
      case "init":
        this.init.emit(message);
        break;
      case "media":
        this.windows.addFrames(message.frames);
        this.noteGaps(message.frames);
        this.media.emit(message);
        break;
      case "frames":
        this.windows.addFrames(message.frames);
        this.noteGaps(message.frames);
        this.frames.emit();
        break;
      case "video":
        this.noVideo.emit(message.why_no_video);
        break;
      case "skip":
        this.skipped.emit(message);
        break;
    }
  }

  /** A run that is another one has a time of its own, and windows with the same numbers. */
  private greet(hello: Hello): void {
    if (hello.run === undefined || hello.run !== this.run) {
      this.windows.clear();
      this.gaps.length = 0;
    }
    this.run = hello.run ?? null;
    this.hello.set(hello);
    if (!this.wanted || document.hidden) this.tell();
  }

  private noteGaps(frames: readonly FrameFacts[]): void {
    for (const frame of frames) if (frame.gap && this.gaps.at(-1) !== frame.i) this.gaps.push(frame.i);
    if (this.gaps.length > 64) this.gaps.splice(0, this.gaps.length - 64);
  }
}
