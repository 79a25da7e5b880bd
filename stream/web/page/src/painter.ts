// What draws a video frame with its tube on a canvas, in one pass, so that both are always of the same frame.

import type { Cells } from "./evidence";
import type { Palette } from "./palette";

/** What a picture is taken from; a video has its newest frame, and pixels may be drawn on. */
export type Source = VideoFrame | HTMLVideoElement | HTMLImageElement | HTMLCanvasElement | ImageData;

/** Width and height of a source as it is shown, in pixels. */
export function sizeOf(source: Source): [number, number] {
  if ("displayWidth" in source) return [source.displayWidth, source.displayHeight];
  if (source instanceof HTMLVideoElement) return [source.videoWidth, source.videoHeight];
  if (source instanceof HTMLImageElement) return [source.naturalWidth, source.naturalHeight];
  return [source.width, source.height];
}

export interface Drawing {
  source: Source;
  /** pixels of the canvas; the source has as many, or more at the right and below that are not shown */
  width: number;
  height: number;
  /** null: the picture alone */
  cells: Cells | null;
  palette: Palette;
  /** 0..1: left of it the picture is as it came */
  split: number;
  /** what the network looks at, framed by a thin line: left, top, right, bottom in fractions; null: no line */
  outline: readonly [number, number, number, number] | null;
}

export interface Painter {
  readonly kind: "webgl" | "canvas2d";
  /** whether it is quicker with a picture's pixels than with the picture */
  readonly wantsPixels: boolean;
  draw(drawing: Drawing): void;
  /** Whether it can go on; a WebGL context may be taken away. */
  readonly lost: boolean;
  /** Gives back what it holds. It draws no more. */
  free(): void;
}
