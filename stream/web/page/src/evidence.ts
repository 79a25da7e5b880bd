// The evidence at one frame, for what this viewer asks: engine/geometry.py, blend_cells.

import type { Part, WindowMessage } from "./protocol";
import { sliceAt } from "./placing";
import type { Normalize, Scale } from "./scale";
import { scaleOf, showNormalize, smooth } from "./scale";
import type { Windows } from "./windows";

/** Which evidence, and how it is scaled. */
export interface Question {
  explain: number | null;
  against: number | null;
  normalize: Normalize;
  /** whether `normalize` is what the server scales by */
  asServer: boolean;
  /** whether scales are smoothed over windows */
  smoothed: boolean;
}

export interface Cells {
  /** [h, w], 0..1 */
  values: Float32Array;
  height: number;
  width: number;
  crop: WindowMessage["crop"];
}

/** The evidence [t, h, w] of one window; null if it is about none of the classes that came with evidence. */
export function evidenceOf(window: WindowMessage, explain: number | null, against: number | null): Float32Array | null {
  if (explain === null) return window.tube;
  const first = window.evidence.get(explain);
  if (!first || against === null) return first ?? null;
  const second = window.evidence.get(against);
  return second ? first.map((value, index) => value - second[index]) : null;
}

/** Whether a question is the one that the stream itself answers. */
function isStreams(window: WindowMessage, question: Question): boolean {
  if (question.explain === null) return true;
  const ids = question.against === null ? [question.explain] : [question.explain, question.against];
  return window.explained.length === ids.length && ids.every((id, at) => window.explained[at].id === id);
}

/** Scales of windows for one question, remembered. */
export class Scales {
  private key = "";
  private readonly known = new Map<number, Scale>();

  of(window: WindowMessage, windows: Windows, question: Question): Scale {
    if (question.asServer && isStreams(window, question)) return window;
    const { explain, against, smoothed } = question;
    const key = [explain, against, smoothed, showNormalize(question.normalize)].join(" ");
    if (key !== this.key) this.known.clear();
    this.key = key;
    const known = this.known.get(window.n);
    if (known) return known;
    const made = this.make(window, windows, question);
    for (const n of this.known.keys()) if (!windows.window(n)) this.known.delete(n);
    return made;
  }

  /** Scales follow one another: those of earlier windows are made first. */
  private make(window: WindowMessage, windows: Windows, question: Question): Scale {
    let previous: Scale | null = null;
    for (const earlier of question.smoothed ? windows.all.filter((one) => one.n <= window.n) : [window]) {
      let scale = this.known.get(earlier.n) ?? null;
      if (!scale) {
        const evidence = evidenceOf(earlier, question.explain, question.against);
        if (!evidence) continue;
        const cells = earlier.shape[1] * earlier.shape[2];
        scale = smooth(previous, scaleOf(evidence, cells, earlier.trusted, question.normalize));
        this.known.set(earlier.n, scale);
      }
      previous = scale;
    }
    return previous ?? window;
  }
}

/** The sum of each window's slice at the frame `at`, scaled to 0..1, times its share; null if there is nothing to draw. */
export function blend(
  parts: readonly Part[],
  at: number,
  opacity: number,
  windows: Windows,
  question: Question,
  scales: Scales,
): Cells | null {
  const known = parts.map(([n, share]) => ({ window: windows.window(n), share }));
  const leading = known.reduce<(typeof known)[number] | null>((one, other) => (one && one.share >= other.share ? one : other), null);
  if (!leading?.window) return null;
  const [, height, width] = leading.window.shape;
  const total = new Float64Array(height * width);
  let drawn = false;
  for (const { window, share } of known) {
    const evidence = window && evidenceOf(window, question.explain, question.against);
    if (!window || !evidence || window.shape[1] !== height || window.shape[2] !== width) continue;
    addSlice(total, window, evidence, scales.of(window, windows, question), at, opacity * share);
    drawn = true;
  }
  return drawn ? { values: Float32Array.from(total), height, width, crop: leading.window.crop } : null;
}

/** Adds a window's evidence at a frame: interpolated between the centres of its slices, scaled, limited to 0..1. */
function addSlice(
  total: Float64Array,
  window: WindowMessage,
  evidence: Float32Array,
  scale: Scale,
  at: number,
  share: number,
): void {
  const cells = total.length;
  const slices = window.shape[0];
  const position = Math.min(Math.max(sliceAt(window, at), 0), slices - 1);
  const slice = Math.floor(position);
  const later = position - slice;
  const first = slice * cells;
  const second = Math.min(slice + 1, slices - 1) * cells;
  const none = Math.min(Math.max(0, scale.low), scale.high); // evidence that is not a number counts as none
  const finite = (value: number): number => (Number.isFinite(value) ? value : none);
  for (let cell = 0; cell < cells; cell++) {
    const value = (1 - later) * finite(evidence[first + cell]) + later * finite(evidence[second + cell]);
    total[cell] += share * Math.min(1, Math.max(0, (value - scale.low) / (scale.high - scale.low)));
  }
}
