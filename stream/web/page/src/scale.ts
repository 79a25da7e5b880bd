// How evidence becomes 0..1 for drawing: engine/saliency.py, Normalize, scale_of and smooth.

export interface Normalize {
  mode: "positive" | "volume" | "fixed";
  /** logits; for fixed alone */
  low?: number;
  high?: number;
}

export interface Scale {
  low: number;
  high: number;
}

/** positive, volume, or fixed:LOW:HIGH; null for anything else. */
export function parseNormalize(text: string): Normalize | null {
  const [mode, ...limits] = text.split(":");
  if ((mode === "positive" || mode === "volume") && limits.length === 0) return { mode };
  const numbers = limits.map((limit) => (limit.trim() ? Number(limit) : NaN));
  const [low, high] = numbers;
  if (mode !== "fixed" || numbers.length !== 2 || !numbers.every(Number.isFinite) || low >= high) return null;
  return { mode, low, high };
}

export function showNormalize(normalize: Normalize): string {
  return normalize.mode === "fixed" ? `fixed:${normalize.low}:${normalize.high}` : normalize.mode;
}

/** The scale of one window. evidence: [t, h, w], of which a slice has `cells` cells; trusted: slices [first, end). */
export function scaleOf(
  evidence: Float32Array,
  cells: number,
  trusted: readonly [number, number],
  normalize: Normalize,
): Scale {
  if (normalize.mode === "fixed") return { low: normalize.low ?? 0, high: normalize.high ?? 1 };
  const whole = normalize.mode === "volume";
  const used = whole ? evidence : evidence.subarray(trusted[0] * cells, trusted[1] * cells);
  let low = Infinity;
  let high = -Infinity;
  for (const raw of used) {
    const value = Number.isFinite(raw) ? raw : 0;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (!whole) low = 0;
  // If no cell has evidence for the class, or all cells are equal, nothing must be drawn.
  return high > low ? { low, high } : { low, high: low + Math.max(1, Math.abs(low)) };
}

/** An exponential mean over windows, so that a live picture does not flicker with each window's own maximum. */
export function smooth(previous: Scale | null, current: Scale, keep = 0.6): Scale {
  if (previous === null) return current;
  return {
    low: keep * previous.low + (1 - keep) * current.low,
    high: keep * previous.high + (1 - keep) * current.high,
  };
}
