// What Media Source Extensions there are here, and bytes for them.

type AnyMediaSource = typeof MediaSource | undefined;

export function mediaSource(): AnyMediaSource {
  const global = self as unknown as { ManagedMediaSource?: AnyMediaSource; MediaSource?: AnyMediaSource };
  return global.MediaSource ?? global.ManagedMediaSource;
}

/** Why a codec cannot be played here, in words; "" if it can. */
export function whyNot(codec: string): string {
  const source = mediaSource();
  if (!source) return "this browser has no Media Source Extensions";
  return source.isTypeSupported(`video/mp4; codecs="${codec}"`) ? "" : `this browser does not play ${codec}`;
}

/** Several fragments as one. */
export function joined(parts: Uint8Array<ArrayBuffer>[]): Uint8Array<ArrayBuffer> {
  if (parts.length === 1) return parts[0];
  const whole = new Uint8Array(parts.reduce((bytes, part) => bytes + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
