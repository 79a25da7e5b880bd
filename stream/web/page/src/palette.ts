// 256 levels of evidence, each with what it keeps of the picture and what it adds: engine/draw/style.py, palette.

import { colorsOf } from "./colormaps";

/** The amount of evidence above the threshold over which alpha rises to its full value. */
const RAMP = 0.3;

export interface Tint {
  threshold: number;
  alpha: number;
  colormap: string;
  /** opacity rises over RAMP from the threshold on; else there is a hard edge, and numbers are rounded down */
  soft: boolean;
  /** colours are added to the picture and not blended with it */
  add: boolean;
}

/** out = floor(keep[level] * picture + add[level]), for levels from `first` on; level = floor(255 * evidence + bias). */
export interface Palette {
  /** [256 x 4]: what is added to red, green and blue (0..255, rounding included), and what is kept (0..1) */
  table: Float32Array;
  first: number;
  bias: number;
  /** evidence that gives the level `first`; what is below it draws nothing */
  least: number;
}

export function paletteOf(tint: Tint): Palette {
  const colors = colorsOf(tint.colormap);
  const table = new Float32Array(256 * 4);
  let first = 256;
  for (let level = 255; level >= 0; level--) {
    const evidence = level / 255;
    const ramp = tint.soft ? Math.min(Math.max((evidence - tint.threshold) / RAMP, 0), 1) : 1;
    const alpha = evidence >= tint.threshold ? tint.alpha * ramp : 0;
    table[4 * level + 3] = tint.add ? 1 : 1 - alpha;
    if (alpha === 0) continue;
    first = level;
    for (let channel = 0; channel < 3; channel++) {
      const added = alpha * colors[3 * level + channel];
      table[4 * level + channel] = tint.soft ? added + 0.5 : Math.floor(added);
    }
  }
  const bias = tint.soft ? 0.5 : 0;
  return { table, first, bias, least: (first - bias) / 255 };
}

/** The colour map as an image for CSS: a horizontal gradient from weak to strong evidence. */
export function gradientOf(colormap: string, steps = 16): string {
  const colors = colorsOf(colormap);
  const stops = Array.from({ length: steps + 1 }, (_, step) => {
    const level = 3 * Math.round((255 * step) / steps);
    return `rgb(${colors[level]} ${colors[level + 1]} ${colors[level + 2]})`;
  });
  return `linear-gradient(to right, ${stops.join(", ")})`;
}
