// The picture as it is on the page, as PNG, with what it shows as JSON in it and beside it.

import type { Session } from "./session";
import type { Stage } from "./stage";
import { commandOf } from "./command";
import type { Look } from "./state";

/** What the picture shows, for programs. */
export function factsOf(session: Session, stage: Stage, look: Look): object {
  const frame = stage.shown.get();
  const windows = (frame?.parts ?? []).map(([n, share]) => {
    const window = session.windows.window(n);
    return window && { n, share, start: window.start, clip_length: window.clip_length, stride: window.stride, t: window.t,
      wall: window.wall, crop: window.crop, explained: window.explained, top: window.top, shape: window.shape,
      evidence: [...window.tube].map((value) => Number(value.toPrecision(6))) };
  });
  return { stream: session.name, model: session.hello.get()?.model ?? "", frame, look: { ...look, ...stage.tint() }, windows,
    command: commandOf(session, look) };
}

/** The PNG of the canvas with the JSON in a text chunk. Rejects where there is no picture. */
export async function picture(stage: Stage, facts: object): Promise<Blob> {
  const canvas = stage.element.querySelector("canvas");
  const made = canvas && new Promise<Blob | null>((done) => canvas.toBlob(done, "image/png"));
  const blob = await made;
  if (!blob) throw new Error("there is no picture to keep");
  return new Blob(withText(new Uint8Array(await blob.arrayBuffer()), "saliency-tubes", JSON.stringify(facts)), { type: "image/png" });
}

export function download(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** Pieces of a PNG with a chunk iTXt in front of its end: keyword, no compression, no language, text in UTF-8. */
export function withText(png: Uint8Array<ArrayBuffer>, keyword: string, text: string): Uint8Array<ArrayBuffer>[] {
  const body = new TextEncoder().encode(`iTXt${keyword}\0\0\0\0\0${text}`);
  const chunk = new Uint8Array(body.length + 8);
  const view = new DataView(chunk.buffer);
  view.setUint32(0, body.length - 4);
  chunk.set(body, 4);
  view.setUint32(body.length + 4, crc(body));
  const end = png.length - 12; // IEND is the last chunk and has 12 bytes
  return [png.slice(0, end), chunk, png.slice(end)];
}

function crc(bytes: Uint8Array): number {
  let value = 0xffffffff;
  for (const byte of bytes) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? 0xedb88320 : 0);
  }
  return (value ^ 0xffffffff) >>> 0;
}
