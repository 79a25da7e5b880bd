// Which windows are drawn on which frame, and with which shares: stream/pipeline/sync.py.

import type { FrameFacts, Hello, Part, WindowMessage } from "./protocol";
import type { Sync } from "./state";

/** What is to be drawn on one frame. */
export interface Placed {
  parts: Part[];
  /** the frame whose evidence is drawn */
  at: number;
  opacity: number;
  /** seconds from the evidence to the frame */
  age: number;
}

const NOTHING: Placed = { parts: [], at: 0, opacity: 1, age: 0 };

/** `windows`: those known, oldest first; `gaps`: indices of frames before which others are missing. */
export function place(
  frame: FrameFacts,
  windows: readonly WindowMessage[],
  sync: Sync,
  hello: Hello,
  gaps: readonly number[],
): Placed {
  if (sync === hello.sync) return frame; // the server has placed it, and knows best
  const whole = windows.filter((window) => !isBetween(gaps, window.start, frame.i));
  return sync === "aligned" ? aligned(frame, whole, hello) : live(frame, whole, hello);
}

/** Every frame is drawn from what saw it; neighbouring windows cross-fade between their centres. */
function aligned(frame: FrameFacts, windows: readonly WindowMessage[], hello: Hello): Placed {
  const later = windows.findIndex((window) => centerOf(window) > frame.i);
  const end = later < 0 ? windows.length : later + 1;
  const near = windows.slice(Math.max(0, end - 2), end);
  const hop = near.length === 2 ? near[1].start - near[0].start : hello.clip_length * hello.stride;
  return { parts: crossfade(frame.i, near, hop), at: frame.i, opacity: 1, age: 0 };
}

/** Each frame is drawn with the newest window that had ended by then, at its newest slice that can be trusted. */
function live(frame: FrameFacts, windows: readonly WindowMessage[], hello: Hello): Placed {
  const newest = windows.findLast((window) => lastOf(window) <= frame.i);
  if (!newest) return { ...NOTHING, at: frame.i };
  const at = Math.min(frame.i, sliceCenter(newest, newest.trusted[1] - 1));
  const frames = frame.i - newest.start;
  const age = frames > 0 ? Math.max(0, ((frame.i - at) * (frame.t - newest.t[0])) / frames) : 0;
  const opacity = Math.min(1, Math.max(0, 1 - (age - hello.max_age) / hello.fade));
  return { parts: opacity > 0 ? [[newest.n, 1]] : [], at, age, opacity };
}

/** The shares of two neighbouring windows in a frame; they change linearly between the windows' centres. */
export function crossfade(index: number, windows: readonly WindowMessage[], hop: number): Part[] {
  const saw = windows.filter((window) => sees(window, index));
  if (saw.length < 2) return saw.map((window) => [window.n, 1] as const);
  const [first, second] = saw;
  // The cross-fade is limited to the frames that both windows saw.
  const reach = (first.clip_length * first.stride) / 2;
  const begin = Math.max(centerOf(first), centerOf(second) - reach);
  const end = Math.min(centerOf(first) + hop, centerOf(first) + reach);
  // If windows between the two were lost, there may be no such frames.
  const share = end > begin ? Math.min(1, Math.max(0, (index - begin) / (end - begin))) : Number(index >= begin);
  const parts: Part[] = [
    [first.n, 1 - share],
    [second.n, share],
  ];
  return parts.filter((part) => part[1] > 0);
}

type Span = Pick<WindowMessage, "start" | "clip_length" | "stride">;

/** Index of the last sampled frame. */
export function lastOf(span: Span): number {
  return span.start + (span.clip_length - 1) * span.stride;
}

export function centerOf(span: Span): number {
  return (span.start + lastOf(span)) / 2;
}

/** Whether the window saw this frame: each sample counts for the `stride` frames around it. */
export function sees(span: Span, index: number): boolean {
  const reach = (span.clip_length * span.stride) / 2;
  const from = index - centerOf(span);
  return -reach <= from && from < reach;
}

/** The frame at the centre of a slice: start + ((i + 0.5) T / t - 0.5) stride. */
export function sliceCenter(window: Span & Pick<WindowMessage, "shape">, slice: number): number {
  return window.start + (((slice + 0.5) * window.clip_length) / window.shape[0] - 0.5) * window.stride;
}

/** The position of a frame on the axis of slices, the inverse of `sliceCenter`; not limited to the span. */
export function sliceAt(window: Span & Pick<WindowMessage, "shape">, frame: number): number {
  return (((frame - window.start) / window.stride + 0.5) * window.shape[0]) / window.clip_length - 0.5;
}

function isBetween(gaps: readonly number[], one: number, other: number): boolean {
  const low = Math.min(one, other);
  const high = Math.max(one, other);
  return gaps.some((first) => low < first && first <= high);
}
