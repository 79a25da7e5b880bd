// The messages of `/api/streams/NAME/live`, as docs/web.md describes them, read and checked.

import type { Normalize } from "./scale";

export type Score = { id: number; name: string; p: number; logit: number };
export type Part = readonly [window: number, share: number];

export interface Style {
  threshold: number;
  alpha: number;
  colormap: string;
  normalize: Normalize;
  /** linear, or paper: a cubic spline, which is not drawn here */
  geometry: string;
  /** opacity rises from the threshold on; else there is a hard edge */
  soft: boolean;
  /** colours are added to the picture and not blended with it */
  add: boolean;
  /** the picture darkens where there is little evidence, which is not drawn here */
  focus: boolean;
  /** whether the part that the network looks at has a thin line around it */
  frame: boolean;
}

export interface Hello {
  type: "hello";
  version: number;
  stream: string;
  /** another one for each run of the stream: time and windows are counted anew in it */
  run?: string;
  width: number;
  height: number;
  /** width / height of one pixel */
  pixel_aspect: number;
  /** frames a second; null if nobody knows */
  rate: number | null;
  clip_length: number;
  stride: number;
  sync: "live" | "aligned";
  /** seconds */
  max_age: number;
  /** seconds */
  fade: number;
  model: string;
  /** how many of the most probable classes have evidence beside the explained one; 0: none */
  classes: number;
  why_no_classes: string;
  style: Style;
  operator: boolean;
  video: "h264" | "none";
  why_no_video: string;
  /** whether the video can be had by WebRTC, too */
  web_rtc?: boolean;
}

export interface PastWindow {
  n: number;
  /** seconds from the stream's zero, of the window's last frame */
  t: number;
  /** seconds since 1970, or null for files */
  wall: number | null;
  top: (readonly [id: number, p: number])[];
  explained: number[];
  /** each slice's share of the positive evidence */
  shares: number[];
}

export interface Mark {
  type: "mark";
  t: number;
  kind: string;
  text: string;
}

export interface HistoryMessage {
  type: "history";
  windows: PastWindow[];
  names: Record<string, string>;
  marks: Omit<Mark, "type">[];
}

export interface Problem {
  reason: string;
  failing: boolean;
  detail: string;
  remedy: string;
}

/** How a stream is. One that is not open yet, or could not be opened, has the first fields alone. */
export interface StreamStatus {
  name: string;
  state: string;
  connected: boolean;
  why: string;
  problems: Problem[];
  viewers: number | null;
}

export interface RunningStatus extends StreamStatus {
  /** the input, as it may be printed */
  source: string;
  /** seconds */
  uptime: number;
  fps_in: number | null;
  fps_out: number | null;
  latency_ms: number | null;
  tube_age: number | null;
  windows_per_second: number | null;
  dropped: Record<string, Record<string, number>>;
  reconnects: number;
  decoder_errors: number;
  sinks: { name: string; state: string; note: string }[];
  /** what was chosen for it: model, runtime, precision, overlay */
  facts: Record<string, string>;
}

export type Status = RunningStatus & { type: "status" };

/** Frames whose pictures come by WebRTC. */
export type Frames = { type: "frames"; frames: FrameFacts[] };
export type Skip = { type: "skip"; frames: number };
export type NoVideo = { type: "video"; video: "none"; why_no_video: string };
export type Bye = { type: "bye"; why: string };
export type TextMessage = Hello | HistoryMessage | Mark | Status | Frames | Skip | NoVideo | Bye;

export interface Init {
  type: "init";
  codec: string;
  width: number;
  height: number;
  data: Uint8Array<ArrayBuffer>;
}

/** What the server knows of one frame. */
export interface FrameFacts {
  i: number;
  /** seconds from the stream's zero: the media time of the video, too */
  t: number;
  /** the frame whose evidence is drawn */
  at: number;
  opacity: number;
  /** seconds from the evidence to the frame */
  age: number;
  /** seconds without any explanation, if that is long */
  awaited: number;
  gap: boolean;
  damaged: boolean;
  parts: Part[];
}

export interface Media {
  type: "media";
  key: boolean;
  frames: FrameFacts[];
  data: Uint8Array<ArrayBuffer>;
}

export interface WindowMessage {
  type: "window";
  n: number;
  /** index of the first frame sampled */
  start: number;
  clip_length: number;
  stride: number;
  /** t, h, w */
  shape: readonly [number, number, number];
  /** left, top, right, bottom, in fractions of the frame */
  crop: readonly [number, number, number, number];
  trusted: readonly [number, number];
  t: readonly [number, number];
  wall: number | null;
  explained: Score[];
  top: Score[];
  low: number;
  high: number;
  maps: number[];
  repeated: number;
  damaged: number;
  /** [t, h, w] of what the stream explains: one class, or one against the other */
  tube: Float32Array;
  /** [t, h, w] for each class of `maps` */
  evidence: Map<number, Float32Array>;
}

export type BinaryMessage = Init | Media | WindowMessage;
export type Message = TextMessage | BinaryMessage;

export class ProtocolError extends Error {}

const MOST_CELLS = 64 * 64 * 64;
const MOST_MAPS = 16;

export function decode(data: string | ArrayBuffer): Message {
  return typeof data === "string" ? decodeText(data) : decodeBinary(data);
}

/** Reads a text message. Its type may be one that is not known here: newer servers may say more. */
export function decodeText(text: string): TextMessage {
  const message = parse(text);
  if (typeof message.type !== "string") throw new ProtocolError("a message without a type");
  return message as unknown as TextMessage;
}

/** Reads a binary message: the length of a JSON header, the header, and the payload. */
export function decodeBinary(buffer: ArrayBuffer): BinaryMessage {
  if (buffer.byteLength < 4) throw new ProtocolError("a message of less than 4 bytes");
  const length = new DataView(buffer).getUint32(0, true);
  if (length > buffer.byteLength - 4) throw new ProtocolError(`a header of ${length} bytes in ${buffer.byteLength}`);
  const header = parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const data = new Uint8Array(buffer, 4 + length);
  switch (header.type) {
    case "init":
    case "media":
      return { ...header, data } as unknown as Init | Media;
    case "window":
      return windowOf(header as unknown as WindowMessage, buffer, 4 + length);
    default:
      throw new ProtocolError(`a binary message of the type ${String(header.type)}`);
  }
}

function windowOf(header: WindowMessage, buffer: ArrayBuffer, offset: number): WindowMessage {
  const { shape, maps: ids } = header;
  if (!Array.isArray(shape) || shape.length !== 3 || !Array.isArray(ids)) throw new ProtocolError("a window without a shape");
  const cells = shape.reduce((product, count) => product * count, 1);
  const maps = ids.length + 1;
  if (!(cells >= 1 && cells <= MOST_CELLS && maps <= MOST_MAPS)) {
    throw new ProtocolError(`a window of ${maps} maps of ${shape.join(" x ")} cells`);
  }
  if (buffer.byteLength - offset !== 4 * cells * maps) {
    throw new ProtocolError(`${buffer.byteLength - offset} bytes for ${maps} maps of ${cells} cells`);
  }
  const numbers = new Float32Array(buffer.slice(offset)); // float32 little-endian, as every browser's machine is
  const map = (index: number): Float32Array => numbers.subarray(index * cells, (index + 1) * cells);
  const evidence = new Map(ids.map((id, index) => [id, map(index + 1)]));
  return { ...header, tube: map(0), evidence };
}

function parse(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ProtocolError("a message that is no JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new ProtocolError("a message that is no object");
  return value as Record<string, unknown>;
}
