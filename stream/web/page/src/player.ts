// H.264 from the WebSocket into a video element, by Media Source Extensions, a constant small delay behind the present.

import { joined, mediaSource } from "./mse";
import type { Init, Media } from "./protocol";
import { speed } from "./pace";
import type { Source } from "./painter";
import { Pixels, frameOf } from "./pixels";
import { Store } from "./store";

/** Seconds behind the end of the newest frame that are aimed at, beside the time that a frame lasts; more after the
 * picture has had to wait for frames, at most once in so many milliseconds, and less again by so much a second. */
const MARGIN = 0.045;
const LARGEST_TARGET = 1.0;
const RAISED_APART = 1000;
const FORGIVEN = 0.005;
/** Seconds off the target from which on the player jumps to the present instead of hurrying. A jump costs the decoding of
 * everything since the last key frame, so there are some milliseconds between two. */
const REJOIN = 0.8;
const REJOIN_APART = 1500;
/** Seconds between two times that are the same, but for rounding. */
const SAME = 0.002;
/** Milliseconds that a jump may take, and then its picture. */
const SEEKING = 4000;
/** Milliseconds between two looks at the delay. */
const TICK = 100;
/** Errors of the decoder within so many milliseconds, and their number, after which it is taken not to work. */
const TROUBLE = 20000;
const MOST_ERRORS = 3;
/** Seconds of the past that are kept, to step back through. */
const KEPT = 32;
/** Maximum of fragments that wait to be appended; past that, the browser has stopped taking them. */
const MOST_WAITING = 600;

export interface PlayerState {
  /** whether the picture follows the present; else it stands still, or plays the past */
  following: boolean;
  /** seconds from the newest frame received to the one shown */
  behind: number;
  /** seconds aimed at */
  target: number;
  /** times that the player has jumped to the present */
  rejoined: number;
}

export class Player {
  readonly video: HTMLVideoElement;
  readonly state = new Store<PlayerState>({ following: true, behind: 0, target: 0.1, rejoined: 0 });
  private source: MediaSource | null = null;
  private buffer: SourceBuffer | null = null;
  private init: Init | null = null;
  private codec = "";
  private waiting: Uint8Array<ArrayBuffer>[] = [];
  private needsKey = true;
  /** seconds that a frame lasts, and the delay that what is drawn needs */
  private lasts = 1 / 30;
  private needed = 0;
  private newest = -1;
  private errors: number[] = [];
  private jumped = 0;
  private raised = 0;
  /** media time of the frame that was given last */
  private last = 0;
  /** counts what was to be shown, so that only the last of them is waited for */
  private wanted = 0;
  private isBusy = false;
  private readonly pixels = new Pixels();
  /** whether pixels are given, where the browser can: see `Painter.wantsPixels` */
  givesPixels = false;
  private callback = 0;
  /** for what comes by WebRTC: media time in seconds of an RTP timestamp */
  private clock: ((timestamp: number) => number) | null = null;
  /** of the frame of WebRTC that was heard of last: the browser's own time, and the media time */
  private heard: readonly [number, number] | null = null;
  private closed = false;
  private readonly timer: number;

  /** shown: called for each frame that is shown, with its media time in seconds and where its picture is. failed: called
   * when the browser cannot decode the video, with the reason in words. */
  constructor(
    private readonly shown: (t: number, source: Source) => void,
    private readonly failed: (why: string) => void,
  ) {
    this.video = document.createElement("video");
    Object.assign(this.video, { muted: true, playsInline: true, disableRemotePlayback: true });
    this.video.onerror = () => this.recover();
    this.timer = setInterval(() => this.tick(), TICK);
    this.listen();
  }

  close(): void {
    this.closed = true;
    clearInterval(this.timer);
    if ("cancelVideoFrameCallback" in this.video) this.video.cancelVideoFrameCallback(this.callback);
    this.detach();
  }

  addInit(message: Init): void {
    this.init = message;
    this.needsKey = true;
    if (!this.source || this.source.readyState === "closed") this.rebuild();
    else this.enqueueInit();
  }

  addMedia(message: Media): void {
    if (!this.init || (this.needsKey && !message.key)) return;
    this.needsKey = false;
    for (const { t } of message.frames) this.time(t);
    this.waiting.push(message.data);
    if (this.waiting.length > MOST_WAITING) this.rebuild();
    this.append();
  }

  /** Seconds behind the present that the picture needs at least, for what is drawn on it. */
  needs(seconds: number): void {
    const least = Math.max(seconds, this.lasts + MARGIN);
    // More is needed from now on; or less than what was needed until now.
    if (this.state.get().target < least || seconds < this.needed) this.state.patch({ target: least });
    this.needed = seconds;
  }

  /** Shows what comes by WebRTC in place of what is added here. It has no past, and its delay is the browser's. clock:
   * the media time in seconds of an RTP timestamp. */
  playStream(stream: MediaStream, clock: (timestamp: number) => number): void {
    this.detach();
    this.init = null;
    this.clock = clock;
    this.heard = null;
    this.video.srcObject = stream;
    this.follow();
  }

  /** Goes back to what is added here. */
  endStream(): void {
    this.clock = null;
    this.video.srcObject = null;
  }

  /** Follows the present again. */
  follow(): void {
    this.state.patch({ following: true });
    this.steer();
    if (this.clock) this.video.play().catch(() => undefined);
  }

  /** Stands still. */
  hold(): void {
    this.state.patch({ following: false });
    this.video.pause();
  }

  /** Stands still at a frame. Resolves when it is shown. t: its media time, seconds. */
  async show(t: number): Promise<void> {
    this.hold();
    const { video } = this;
    const wanted = ++this.wanted;
    const sought = new Promise<void>((done) => video.addEventListener("seeked", () => done(), { once: true }));
    video.currentTime = t + 0.001; // times are rounded: just within the frame, not just before it
    await Promise.race([sought, sleep(SEEKING)]);
    // The picture may come a little later than the word that it is there.
    const end = performance.now() + SEEKING;
    while (wanted === this.wanted && performance.now() < end && !(await this.take(t))) await sleep(10);
  }

  /** Gives the frame that is there once more. */
  async again(): Promise<void> {
    while (this.isBusy) await sleep(2); // with what is given at the moment
    await this.take(this.last);
  }

  /** The times [from, to] in seconds that can be shown; null if there is nothing yet. */
  get span(): readonly [number, number] | null {
    const ranges = this.video.buffered;
    return ranges.length ? [ranges.start(0), ranges.end(ranges.length - 1)] : null;
  }

  private listen(): void {
    const { video } = this;
    if ("requestVideoFrameCallback" in video) {
      this.callback = video.requestVideoFrameCallback((_, metadata) => {
        if (this.closed) return;
        this.listen();
        if (this.clock && !this.hear(metadata, this.clock)) return;
        void this.take(metadata.mediaTime);
      });
    } else {
      requestAnimationFrame(() => {
        if (this.closed) return;
        this.listen();
        void this.take((video as HTMLVideoElement).currentTime);
      });
    }
  }

  /** Draws what the video shows. A VideoFrame says itself which frame it is: by the time of the callback, the video may
   * have gone on. Returns whether it was the frame of the time `t`. */
  private async take(t: number): Promise<boolean> {
    if (this.video.readyState < 2 || this.video.seeking || this.isBusy) return false;
    this.isBusy = true;
    const frame = frameOf(this.video);
    try {
      const pixels = frame && this.givesPixels ? await this.pixels.of(frame) : null;
      if (this.closed) return false;
      this.last = frame ? frame.timestamp / 1e6 : t;
      const time = this.timeOf(this.last);
      if (time !== null) this.shown(time, pixels ?? frame ?? this.video);
    } finally {
      frame?.close();
      this.isBusy = false;
    }
    return Math.abs(this.last - t) < SAME;
  }

  /** Takes note of which frame of WebRTC this is: only the callback knows. Returns whether it is known. */
  private hear({ mediaTime, rtpTimestamp }: VideoFrameCallbackMetadata, clock: (timestamp: number) => number): boolean {
    if (rtpTimestamp === undefined) {
      this.failed("this browser does not say which frame of WebRTC it shows");
      return false;
    }
    this.heard = [mediaTime, clock(rtpTimestamp)];
    return true;
  }

  /** The media time of a frame by the browser's own time of it; null if the callback that knows it is still to come. */
  private timeOf(time: number): number | null {
    if (!this.clock) return time;
    return this.heard && Math.abs(this.heard[0] - time) < SAME ? this.heard[1] : null;
  }

  private recover(): void {
    const now = Date.now();
    this.errors = [...this.errors.filter((then) => now - then < TROUBLE), now];
    if (this.errors.length > MOST_ERRORS) this.failed(this.video.error?.message || "the browser cannot decode the video");
    else this.rebuild();
  }

  private rebuild(): void {
    this.detach();
    const Source = mediaSource();
    if (!Source || !this.init) return;
    const source = new Source();
    this.source = source;
    this.needsKey = true;
    this.codec = this.init.codec;
    this.video.src = URL.createObjectURL(source);
    source.onsourceopen = () => {
      URL.revokeObjectURL(this.video.src);
      if (source !== this.source) return;
      this.buffer = source.addSourceBuffer(`video/mp4; codecs="${this.codec}"`);
      this.buffer.onupdateend = () => this.appended();
      this.append();
    };
    this.enqueueInit();
  }

  private detach(): void {
    this.waiting = [];
    this.buffer = this.source = null;
    this.video.removeAttribute("src");
    this.video.load();
  }

  private enqueueInit(): void {
    if (!this.init) return;
    if (this.buffer && this.codec !== this.init.codec) {
      this.rebuild();
      return;
    }
    this.waiting.push(this.init.data);
    this.append();
  }

  private append(): void {
    const { buffer } = this;
    if (!buffer || buffer.updating || !this.waiting.length) return;
    try {
      buffer.appendBuffer(joined(this.waiting));
      this.waiting = [];
    } catch (error) {
      if ((error as DOMException).name === "QuotaExceededError") this.forget(KEPT / 4);
      else this.rebuild();
    }
  }

  private appended(): void {
    this.append();
    this.forget(KEPT);
    this.steer();
  }

  /** Removes what is older than so many seconds before the picture. */
  private forget(seconds: number): void {
    const { buffer, span } = this;
    const until = this.video.currentTime - seconds;
    if (buffer && !buffer.updating && span && until - span[0] > 5) buffer.remove(0, until);
  }

  private tick(): void {
    const { target } = this.state.get();
    const least = Math.max(this.needed, this.lasts + MARGIN);
    if (target > least) this.state.patch({ target: Math.max(least, target - (FORGIVEN * TICK) / 1000) });
    this.steer();
  }

  /** Takes note of a frame's time: how long frames last, and whether it came too late to be shown at its time. */
  private time(t: number): void {
    const lasted = t - this.newest;
    const late = this.video.currentTime - t;
    if (this.newest >= 0 && lasted > 0 && lasted < 1) {
      this.lasts += 0.1 * (lasted - this.lasts);
      const { following, target } = this.state.get();
      // Frames that come late together were held up by one thing, and that may be this page itself.
      const isNew = performance.now() - this.raised > RAISED_APART;
      if (following && late > 0 && late < LARGEST_TARGET && isNew && !this.video.seeking) {
        this.raised = performance.now();
        this.state.patch({ target: Math.min(target + Math.min(late, 0.05), Math.max(LARGEST_TARGET, this.needed)) });
      }
    }
    this.newest = t;
  }

  /** Keeps the delay: by the speed where it is a little off, by a jump where it is far off. */
  private steer(): void {
    const { video } = this;
    const ranges = video.buffered;
    if (!ranges.length || video.seeking) return;
    const [start, end] = [ranges.start(ranges.length - 1), ranges.end(ranges.length - 1)];
    const behind = end - video.currentTime;
    const { following, target, rejoined } = this.state.get();
    this.state.patch({ behind });
    if (!following) return;
    const far = Math.abs(behind - target) > REJOIN && performance.now() - this.jumped > REJOIN_APART;
    if (video.currentTime < start || far) {
      this.jumped = performance.now();
      video.currentTime = Math.max(start, end - target);
      this.state.patch({ rejoined: rejoined + 1 });
    }
    const rate = speed(behind, target);
    if (Math.abs(video.playbackRate - rate) > 0.005) video.playbackRate = rate;
    if (video.paused) video.play().catch(() => undefined); // at a reload it may be refused until the page is seen
  }
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((done) => setTimeout(done, milliseconds));
}
