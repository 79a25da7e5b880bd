// Where pixels lie between cells: engine/geometry.py, faded_ends and axis_positions, for the linear geometry.

/** One axis of the crop on the picture. */
export interface Axis {
  /** first pixel whose centre is within the crop, and the first one beyond */
  first: number;
  end: number;
  /** position = clip(scale * i + offset, 0, cells - 1) + ...; `u` = scale * i + offset is in cells from the crop's edge */
  scale: number;
  offset: number;
  cells: number;
  /** 1 where the end fades to a cell of zeros, as the crop cuts the picture there; else 0 */
  before: 0 | 1;
  after: 0 | 1;
}

/** cells: number of cells along the axis; [low, high): the crop in fractions of `pixels` pixels. */
export function axisOf(cells: number, low: number, high: number, pixels: number): Axis {
  const left = low * pixels;
  const right = high * pixels;
  const first = Math.min(Math.max(Math.ceil(left - 0.5), 0), pixels);
  const end = Math.min(Math.max(Math.ceil(right - 0.5), first), pixels);
  const scale = cells / (right - left);
  return {
    first,
    end,
    scale,
    offset: (0.5 - left) * scale,
    cells,
    before: left > 0.5 ? 1 : 0,
    after: right <= pixels - 0.5 ? 1 : 0,
  };
}

/** Where a pixel lies, in cells, those of zeros counted. */
export function positionOf(axis: Axis, pixel: number): number {
  const u = axis.scale * pixel + axis.offset;
  const limited = (value: number, most: number): number => Math.min(Math.max(value, 0), most);
  return (
    limited(u - 0.5, axis.cells - 1) +
    axis.before * limited(2 * u, 1) +
    axis.after * limited(2 * (u - axis.cells) + 1, 1)
  );
}

/** The cells surrounded by their zeros: [before + n + after] along each axis. */
export function ringed(values: Float32Array, down: Axis, across: Axis): { values: Float32Array; height: number; width: number } {
  const height = down.before + down.cells + down.after;
  const width = across.before + across.cells + across.after;
  const made = new Float32Array(height * width);
  for (let row = 0; row < down.cells; row++) {
    const begin = (row + down.before) * width + across.before;
    made.set(values.subarray(row * across.cells, (row + 1) * across.cells), begin);
  }
  return { values: made, height, width };
}
