// The overlay by a plain canvas, where there is no WebGL 2: the same arithmetic, pixel by pixel, in JavaScript.

import type { Axis } from "./geometry";
import { axisOf, positionOf, ringed } from "./geometry";
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
    // One pixel of a source is one of the canvas: what an encoder added to an odd size lies beyond it.
    this.context.drawImage(source, 0, 0);
    if (cells) {
      const [left, top, right, bottom] = cells.crop;
      const across = axisOf(cells.width, left, right, width);
      const down = axisOf(cells.height, top, bottom, height);
      // A pixel is raw where its centre is left of the divider.
      const begin = Math.max(across.first, Math.ceil(drawing.split * width - 0.5));
      if (begin < across.end && down.first < down.end) this.tint(ringed(cells.values, down, across), down, across, begin, drawing.palette);
    }
    if (drawing.outline) this.frame(drawing.outline, width, height);
  }

  free(): void {
    this.canvas.width = this.canvas.height = 0;
  }

  private tint(cells: ReturnType<typeof ringed>, down: Axis, across: Axis, begin: number, palette: Palette): void {
    const columns = across.end - begin;
    const rows = down.end - down.first;
    const image = this.context.getImageData(begin, down.first, columns, rows);
    const positions = Float64Array.from({ length: columns }, (_, column) => positionOf(across, begin + column));
    for (let row = 0; row < rows; row++) {
      const line = lineAt(cells, positionOf(down, down.first + row));
      tintRow(image.data.subarray(4 * row * columns, 4 * (row + 1) * columns), positions, line, palette);
    }
    this.context.putImageData(image, begin, down.first);
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

/** One row of cells, between two. */
function lineAt(cells: ReturnType<typeof ringed>, position: number): Float64Array {
  const above = Math.min(Math.floor(position), cells.height - 1);
  const below = Math.min(above + 1, cells.height - 1);
  const part = position - above;
  return Float64Array.from({ length: cells.width }, (_, column) => {
    const value = cells.values[above * cells.width + column];
    return value + part * (cells.values[below * cells.width + column] - value);
  });
}

/** pixels: red, green, blue and alpha of one row. */
function tintRow(pixels: Uint8ClampedArray, positions: Float64Array, line: Float64Array, palette: Palette): void {
  for (let column = 0; column < positions.length; column++) {
    const cell = Math.min(Math.floor(positions[column]), line.length - 1);
    const value = line[cell] + (positions[column] - cell) * (line[Math.min(cell + 1, line.length - 1)] - line[cell]);
    const level = Math.floor(255 * Math.min(Math.max(value, 0), 1) + palette.bias);
    if (level < palette.first) continue;
    const keep = palette.table[4 * level + 3];
    for (let channel = 0; channel < 3; channel++) {
      const at = 4 * column + channel;
      pixels[at] = Math.floor(keep * pixels[at] + palette.table[4 * level + channel]);
    }
  }
}
