// What is known of one stream's windows and frames: the last minute in full, the last five minutes in short.

import type { FrameFacts, HistoryMessage, Mark, PastWindow, WindowMessage } from "./protocol";
import { Signal } from "./store";

/** Seconds of windows with their evidence, and of frames. */
const KEPT = 45;
/** Maximum bytes of evidence. */
const MOST_BYTES = 96e6;
/** Seconds of windows in short, and of marks. */
const PAST = 300;
const MOST_PAST = 9000;

export class Windows {
  /** a window came, or the past was replaced */
  readonly changed = new Signal<void>();
  /** the last five minutes, oldest first */
  readonly past: PastWindow[] = [];
  readonly marks: Omit<Mark, "type">[] = [];
  /** class id -> name, of all classes seen so far */
  readonly names = new Map<number, string>();
  private readonly kept = new Map<number, WindowMessage>();
  private listed: readonly WindowMessage[] | null = null;
  private bytes = 0;
  private frames: FrameFacts[] = [];

  /** The windows with their evidence, oldest first. */
  get all(): readonly WindowMessage[] {
    this.listed ??= [...this.kept.values()];
    return this.listed;
  }

  get newest(): WindowMessage | null {
    return this.all.at(-1) ?? null;
  }

  window(n: number): WindowMessage | null {
    return this.kept.get(n) ?? null;
  }

  name(id: number): string {
    return this.names.get(id) ?? `class ${id}`;
  }

  /** Forgets everything: the stream's time begins anew. */
  clear(): void {
    this.kept.clear();
    this.listed = null;
    this.bytes = 0;
    this.frames = [];
    this.past.length = this.marks.length = 0;
    this.changed.emit();
  }

  addHistory(message: HistoryMessage): void {
    for (const [id, name] of Object.entries(message.names)) this.names.set(Number(id), name);
    this.past.splice(0, this.past.length, ...message.windows.slice(-MOST_PAST));
    this.marks.splice(0, this.marks.length, ...message.marks);
    this.changed.emit();
  }

  addMark(mark: Mark): void {
    this.marks.push(mark);
    while (this.marks.length && this.marks[0].t < mark.t - PAST) this.marks.shift();
    this.changed.emit();
  }

  addWindow(window: WindowMessage): void {
    for (const score of [...window.top, ...window.explained]) this.names.set(score.id, score.name);
    if (this.kept.has(window.n)) return; // after a new connection, windows come again
    this.listed = null;
    this.kept.set(window.n, window);
    this.bytes += sizeOf(window);
    for (const [n, old] of this.kept) {
      if (old.t[1] >= window.t[1] - KEPT && this.bytes <= MOST_BYTES) break;
      if (n === window.n) break;
      this.kept.delete(n);
      this.bytes -= sizeOf(old);
    }
    if ((this.past.at(-1)?.n ?? -1) < window.n) this.past.push(inShort(window));
    while (this.past.length > MOST_PAST || this.past[0].t < window.t[1] - PAST) this.past.shift();
    this.changed.emit();
  }

  /** Frames come in order. One that is not later than the last begins a new time. */
  addFrames(frames: readonly FrameFacts[]): void {
    for (const frame of frames) {
      const last = this.frames.at(-1);
      if (last && frame.t <= last.t) {
        const first = this.frames.findIndex((known) => known.t >= frame.t);
        this.frames.length = first; // after a new connection, the newest frames come again
      }
      this.frames.push(frame);
    }
    const end = this.frames.at(-1)?.t ?? 0;
    if (this.frames.length && this.frames[0].t < end - KEPT - 5) {
      this.frames = this.frames.slice(this.indexAt(end - KEPT));
    }
  }

  /** The frame at a media time, or null if none is within half a frame of it. */
  frameAt(t: number): FrameFacts | null {
    const index = this.nearest(t);
    const frame = this.frames[index];
    if (!frame) return null;
    const gaps = [this.frames[index - 1], this.frames[index + 1]].filter(Boolean).map((other) => Math.abs(other.t - frame.t));
    const reach = gaps.length ? Math.min(...gaps) / 2 : 0.02;
    return Math.abs(frame.t - t) <= reach ? frame : null;
  }

  /** The frame `count` after (or, negative, before) the one next to a media time; the first or last one beyond them. */
  frameFrom(t: number, count: number): FrameFacts | null {
    return this.frames[Math.min(Math.max(this.nearest(t) + count, 0), this.frames.length - 1)] ?? null;
  }

  /** The frames of the last minute, oldest first. */
  get known(): readonly FrameFacts[] {
    return this.frames;
  }

  get firstFrame(): FrameFacts | null {
    return this.frames[0] ?? null;
  }

  get lastFrame(): FrameFacts | null {
    return this.frames.at(-1) ?? null;
  }

  /** Index of the frame whose time is next to `t`; 0 if there is none. */
  private nearest(t: number): number {
    const index = this.indexAt(t);
    const later = this.frames[index + 1];
    return later && later.t - t < t - this.frames[index].t ? index + 1 : index;
  }

  /** Index of the last frame that is not later than `t`; 0 if all are. */
  private indexAt(t: number): number {
    let low = 0;
    let high = this.frames.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.frames[middle].t <= t) low = middle;
      else high = middle;
    }
    return low;
  }
}

function sizeOf(window: WindowMessage): number {
  return window.tube.buffer.byteLength;
}

/** A window as the history has it. */
function inShort(window: WindowMessage): PastWindow {
  return {
    n: window.n,
    t: window.t[1],
    wall: window.wall,
    top: window.top.map((score) => [score.id, score.p] as const),
    explained: window.explained.map((score) => score.id),
    shares: sliceShares(window.tube, window.shape),
  };
}

/** Each slice's share of the positive evidence; they sum to 1, or are 0 where there is none. */
export function sliceShares(evidence: Float32Array, shape: readonly [number, number, number]): number[] {
  const cells = shape[1] * shape[2];
  const sums = Array.from({ length: shape[0] }, (_, slice) => {
    let sum = 0;
    for (const value of evidence.subarray(slice * cells, (slice + 1) * cells)) if (value > 0) sum += value;
    return sum;
  });
  const total = sums.reduce((one, other) => one + other, 0);
  return sums.map((sum) => (total > 0 ? sum / total : 0));
}
