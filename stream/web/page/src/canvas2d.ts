// The overlay by a plain canvas, where there is no WebGL 2: the same arithmetic, pixel by pixel, in JavaScript.

import type { Spread } from "./geometry";
import { positionOf, spread } from "./geometry";
import type { Drawing, Painter } from "./painter";
import type { Palette } from "./palette";

/** Null where there is not even that. */
export function canvas2d(canvas: HTMLCanvasElement): Painter | null {
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  return context && new Canvas2dPainter(canvas, context);
}

class Canvas2dPainter implements Painter {
  readonly kind = "canvas2d";
  readonly lost = false;
  readonly wantsPixels = true;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly context: CanvasRenderingContext2D,
  ) {}

  draw(drawing: Drawing): void {
    const { source, width, height, cells } = drawing;
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    const made = cells && spread(cells, width, height, drawing.palette.least);
    // A pixel is raw where its centre is left of the divider.
    const begin = made ? Math.max(made.left, Math.ceil(drawing.split * width - 0.5)) : 0;
    const isTinted = made && begin < made.right;
    // One pixel of a source is one of the canvas: what an encoder added to an odd size lies beyond it.
    if (source instanceof ImageData) {
      if (isTinted) tint(source, 0, 0, made, begin, drawing.palette);
      this.context.putImageData(source, 0, 0);
    } else {
      this.context.drawImage(source, 0, 0);
      if (isTinted) this.tint(made, begin, drawing.palette);
    }
    if (drawing.outline) this.frame(drawing.outline, width, height);
  }

  free(): void {
    this.canvas.width = this.canvas.height = 0;
  }

  private tint(made: Spread, begin: number, palette: Palette): void {
    const image = this.context.getImageData(begin, made.top, made.right - begin, made.bottom - made.top);
    tint(image, begin, made.top, made, begin, palette);
    this.context.putImageData(image, begin, made.top);
  }

  private frame(outline: readonly [number, number, number, number], width: number, height: number): void {
    const wide = Math.max(1, Math.floor(height / 360));
    const [left, top, right, bottom] = outline;
    for (const [color, inset] of [["rgb(0 0 0 / 50%)", 1.5], ["rgb(235 235 235)", 0.5]] as const) {
      this.context.strokeStyle = color;
      this.context.lineWidth = wide;
      const in_ = inset * wide;
      this.context.strokeRect(left * width + in_, top * height + in_, (right - left) * width - 2 * in_, (bottom - top) * height - 2 * in_);
    }
  }
}

/** Draws on an image whose first pixel is the picture's pixel (left, top), from the picture's column `begin` on. */
function tint(image: ImageData, left: number, top: number, made: Spread, begin: number, palette: Palette): void {
  for (let y = made.top; y < made.bottom; y++) {
    const start = (y - top) * image.width - left;
    const pixels = image.data.subarray(4 * (start + begin), 4 * (start + made.right));
    tintRow(pixels, made, begin - made.left, positionOf(made.down, y), palette);
  }
}

/** pixels: red, green, blue and alpha of one row, which lies at `position` in rows of cells; skipped: columns of `made`
 * that are left of it. */
function tintRow(pixels: Uint8ClampedArray, made: Spread, skipped: number, position: number, palette: Palette): void {
  const row = Math.min(Math.floor(position), made.rows - 1);
  const part = position - row;
  const above = row * made.columns + skipped;
  const below = Math.min(row + 1, made.rows - 1) * made.columns + skipped;
  for (let column = 0; 4 * column < pixels.length; column++) {
    const value = made.values[above + column] + part * (made.values[below + column] - made.values[above + column]);
    const level = Math.floor(255 * Math.min(Math.max(value, 0), 1) + palette.bias);
    if (level < palette.first) continue;
    const keep = palette.table[4 * level + 3];
    for (let channel = 0; channel < 3; channel++) {
      const at = 4 * column + channel;
      pixels[at] = Math.floor(keep * pixels[at] + palette.table[4 * level + channel]);
    }
  }
}
