// Where pixels lie between cells: engine/geometry.py, faded_ends and axis_positions, for the linear geometry.

/** One axis of the crop on the picture. */
export interface Axis {
  /** first pixel whose centre is within the crop, and the first one beyond */
  first: number;
  end: number;
  /** scale * i + offset is where pixel i lies, in cells from the crop's edge */
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

/** Evidence that is spread over the columns of a picture: only the rows of cells are still to be interpolated. */
export interface Spread {
  /** [cells.height, columns], 0..1; the rows of zeros included */
  values: Float32Array;
  rows: number;
  columns: number;
  across: Axis;
  down: Axis;
  /** pixels that may be drawn on; those of the others are below the first level that draws */
  left: number;
  right: number;
  top: number;
  bottom: number;
}

export interface Given {
  values: Float32Array;
  height: number;
  width: number;
  crop: readonly [number, number, number, number];
}

/** Spreads cells [h, w] over a picture of so many pixels. least: evidence from which on something is drawn. */
export function spread(cells: Given, width: number, height: number, least: number): Spread | null {
  const across = axisOf(cells.width, cells.crop[0], cells.crop[2], width);
  const down = axisOf(cells.height, cells.crop[1], cells.crop[3], height);
  const box = boxOf(cells, least);
  if (!box) return null;
  const [left, right] = reach(across, box.left, box.right);
  const [top, bottom] = reach(down, box.top, box.bottom);
  if (left >= right || top >= bottom) return null;
  const rows = down.before + down.cells + down.after;
  const columns = right - left;
  const values = new Float32Array(rows * columns);
  const last = across.before + across.cells + across.after - 1;
  for (let column = 0; column < columns; column++) {
    const position = positionOf(across, left + column);
    const cell = Math.min(Math.floor(position), last);
    const part = position - cell;
    for (let row = 0; row < down.cells; row++) {
      const value = at(cells, row, cell - across.before);
      const next = at(cells, row, Math.min(cell + 1, last) - across.before);
      values[(row + down.before) * columns + column] = value + part * (next - value);
    }
  }
  return { values, rows, columns, across, down, left, right, top, bottom };
}

/** A cell, or the zero beyond it. */
function at(cells: Given, row: number, column: number): number {
  return column >= 0 && column < cells.width ? cells.values[row * cells.width + column] : 0;
}

/** The cells that are `least` or more, as first and last column and row; null if there are none. */
function boxOf(cells: Given, least: number): { left: number; right: number; top: number; bottom: number } | null {
  const box = { left: cells.width, right: -1, top: cells.height, bottom: -1 };
  cells.values.forEach((value, index) => {
    if (!(value >= least)) return;
    const row = Math.floor(index / cells.width);
    const column = index % cells.width;
    box.left = Math.min(box.left, column);
    box.right = Math.max(box.right, column);
    box.top = Math.min(box.top, row);
    box.bottom = row;
  });
  return box.right < 0 ? null : box;
}

/** The pixels [from, to) that lie less than a cell away from the cells `first` to `last`, zeros not counted. */
function reach(axis: Axis, first: number, last: number): [number, number] {
  let from = axis.first;
  let to = axis.end;
  while (from < to && positionOf(axis, from) <= first + axis.before - 1) from++;
  while (to > from && positionOf(axis, to - 1) >= last + axis.before + 1) to--;
  return [from, to];
}
