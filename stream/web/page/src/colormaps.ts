// The colour maps, as the stream's own drawing has them.

import { COLORMAPS } from "./tables";

const decoded = new Map<string, Uint8Array>();

/** Their names; the first is one that the colour-blind see as others do. */
export const COLORMAP_NAMES: readonly string[] = Object.keys(COLORMAPS);

/** [256 x 3]: red, green and blue of each level, 0..255. A name that is not known has the first map. */
export function colorsOf(name: string): Uint8Array {
  const known = name in COLORMAPS ? name : COLORMAP_NAMES[0];
  let colors = decoded.get(known);
  if (!colors) {
    colors = Uint8Array.from(atob(COLORMAPS[known]), (letter) => letter.charCodeAt(0));
    decoded.set(known, colors);
  }
  return colors;
}
