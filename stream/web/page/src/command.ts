// The command line that gives this look to everybody.

import { showNormalize } from "./scale";
import type { Session } from "./session";
import type { Look } from "./state";

/** `saliency-tubes run INPUT OUTPUT` with the flags of the look; only what differs from the defaults of the program. */
export function commandOf(session: Session, look: Look): string {
  const { windows } = session;
  const hello = session.hello.get();
  const source = session.status.get()?.source || "INPUT";
  const flags: [string, string | null][] = [
    ["--explain", explained(look, (id) => windows.name(id))],
    ["--threshold", number(look.threshold ?? hello?.style.threshold ?? null)],
    ["--alpha", number(look.alpha ?? hello?.style.alpha ?? null)],
    ["--colormap", look.colormap ?? hello?.style.colormap ?? null],
    ["--normalize", look.normalize ? showNormalize(look.normalize) : hello ? showNormalize(hello.style.normalize) : null],
    ["--sync", look.sync],
  ];
  const words = flags.flatMap(([flag, value]) => (value === null ? [] : [flag, quoted(value)]));
  return ["saliency-tubes run", quoted(source), "OUTPUT", ...words, ...(look.outline ? ["--frame"] : [])].join(" ");
}

function explained(look: Look, name: (id: number) => string): string | null {
  if (look.explain === null) return null;
  return look.against === null ? name(look.explain) : `${name(look.explain)}:${name(look.against)}`;
}

function number(value: number | null): string | null {
  return value === null ? null : String(Number(value.toFixed(3)));
}

/** A word for a POSIX shell. */
export function quoted(word: string): string {
  return /^[A-Za-z0-9@%+=:,./_-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
