// What this viewer asks of the streams: which class, and how it is drawn. Nobody else's picture changes by it.
// It is kept in the address (so that a link shows the same) and in this browser.

import type { Normalize } from "./scale";
import { parseNormalize, showNormalize } from "./scale";
import { Store } from "./store";

export type Sync = "live" | "aligned";

export interface Look {
  /** the stream that is enlarged; "" for all of them as a wall */
  stream: string;
  /** class id, which stays until another one is chosen; null: what the stream explains */
  explain: number | null;
  /** class id: the evidence for `explain` less the evidence for this one; null: none */
  against: number | null;
  /** null here, and in those below: as the stream draws it */
  threshold: number | null;
  alpha: number | null;
  colormap: string | null;
  normalize: Normalize | null;
  sync: Sync | null;
  /** how the video comes: null is over the WebSocket; WebRTC where the server offers it */
  transport: "webrtc" | null;
  /** where the divider is, 0..1 of the width: left of it the picture is as it came */
  split: number;
  /** whether the crop that the network looks at has a thin frame */
  outline: boolean;
}

export const DEFAULT_LOOK: Look = {
  stream: "",
  explain: null,
  against: null,
  threshold: null,
  alpha: null,
  colormap: null,
  normalize: null,
  sync: null,
  transport: null,
  split: 0,
  outline: false,
};

const KEY = "saliency-tubes.look";

/** `#stream=door&explain=31&against=44&threshold=0.3`: only what differs from the default. */
export function showLook(look: Look): string {
  const parameters = new URLSearchParams();
  for (const key of Object.keys(DEFAULT_LOOK) as (keyof Look)[]) {
    const value = look[key];
    if (Object.is(value, DEFAULT_LOOK[key])) continue;
    if (value === null) parameters.set(key, "");
    else if (typeof value === "object") parameters.set(key, showNormalize(value));
    else parameters.set(key, typeof value === "number" ? String(Number(value.toFixed(4))) : String(value));
  }
  return parameters.toString();
}

/** Reads what `showLook` wrote. What is wrong or unknown is left as it is by default. */
export function readLook(text: string): Look {
  const given = new URLSearchParams(text.replace(/^#/, ""));
  const number = (key: string, low: number, high: number): number | null => {
    const value = Number(given.get(key) || NaN);
    return value >= low && value <= high ? value : null;
  };
  const classId = (key: string): number | null => {
    const value = number(key, 0, 1e6);
    return value !== null && Number.isInteger(value) ? value : null;
  };
  const sync = given.get("sync");
  const explain = classId("explain");
  return {
    stream: given.get("stream") ?? DEFAULT_LOOK.stream,
    explain,
    against: explain === null ? null : classId("against"),
    threshold: number("threshold", 0, 1),
    alpha: number("alpha", 0, 1),
    colormap: given.get("colormap") || null,
    normalize: parseNormalize(given.get("normalize") ?? ""),
    sync: sync === "live" || sync === "aligned" ? sync : null,
    transport: given.get("transport") === "webrtc" ? "webrtc" : null,
    split: number("split", 0, 1) ?? DEFAULT_LOOK.split,
    outline: given.get("outline") === "true",
  };
}

/** The look of this page: from its address, else as it was when this browser was here last. */
export function keepLook(): Store<Look> {
  const store = new Store(readLook(location.hash.length > 1 ? location.hash : remembered()));
  store.watch((look) => {
    const text = showLook(look);
    history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
    remember(text);
  });
  addEventListener("hashchange", () => store.set(readLook(location.hash)));
  return store;
}

function remembered(): string {
  try {
    return localStorage.getItem(KEY) ?? "";
  } catch {
    return ""; // storage may be forbidden
  }
}

function remember(text: string): void {
  try {
    localStorage.setItem(KEY, text);
  } catch {
    // the address has it too
  }
}
