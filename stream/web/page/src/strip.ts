// The tube over time: each slice of the window as a small map of its cells, and its share of the evidence.

import { h, paced, say } from "./dom";
import { Scales, evidenceOf } from "./evidence";
import { colorsOf } from "./colormaps";
import { paletteOf } from "./palette";
import { sliceAt } from "./placing";
import type { WindowMessage } from "./protocol";
import type { Session } from "./session";
import type { Stage } from "./stage";
import type { Look } from "./state";
import type { Readable } from "./store";
import { sliceShares } from "./windows";
import { percent } from "./words";

const MOST_SLICES = 32;

export class Strip {
  readonly element: HTMLElement;
  private readonly row = h("ol", { class: "slices" });
  private readonly note = h("p", { class: "note" });
  private readonly scales = new Scales();
  private readonly ends: (() => void)[];
  private slices: Slice[] = [];
  private drawn = "";

  constructor(
    private readonly session: Session,
    private readonly stage: Stage,
    private readonly look: Readable<Look>,
  ) {
    this.element = h("section", { class: "strip", "aria-label": "The tube over time" }, h("h2", { class: "title" }, "The tube over time"), this.row, this.note);
    const draw = paced(() => this.draw());
    this.ends = [stage.shown.watch(draw), look.watch(draw), session.windows.changed.on(draw)];
  }

  close(): void {
    for (const end of this.ends) end();
  }

  private draw(): void {
    const shown = this.stage.shown.get();
    const leading = shown?.parts.reduce<readonly [number, number] | null>((one, other) => (one && one[1] >= other[1] ? one : other), null);
    const window = (leading && this.session.windows.window(leading[0])) ?? this.session.windows.newest;
    const hello = this.session.hello.get();
    if (!window || !hello) return;
    const now = shown ? Math.min(Math.max(Math.round(sliceAt(window, shown.at)), 0), window.shape[0] - 1) : -1;
    this.slices.forEach((slice, at) => slice.mark(at === now));
    const look = this.look.get();
    const tint = this.stage.tint();
    const key = JSON.stringify([window.n, look.explain, look.against, look.normalize, tint]);
    if (key === this.drawn) return;
    this.drawn = key;
    const evidence = evidenceOf(window, look.explain, look.against);
    const own = hello.style.normalize;
    const normalize = look.normalize ?? own;
    const scale = evidence && this.scales.of(window, this.session.windows, {
      explain: look.explain, against: look.against, normalize, smoothed: hello.sync === "live",
      asServer: JSON.stringify(normalize) === JSON.stringify(own),
    });
    this.fit(window);
    const shares = evidence ? sliceShares(evidence, window.shape) : [];
    const colors = colorsOf(tint.colormap);
    const { first } = paletteOf(tint);
    const step = Math.ceil(window.shape[0] / MOST_SLICES);
    this.slices.forEach((slice, at) => {
      const trusted = at * step >= window.trusted[0] && at * step < window.trusted[1];
      slice.draw(window, evidence, at * step, scale ?? window, colors, first, shares[at * step] ?? 0, trusted);
    });
    const strongest = shares.indexOf(Math.max(...shares));
    say(this.note, this.words(window, evidence !== null, strongest, shares[strongest] ?? 0));
  }

  private fit(window: WindowMessage): void {
    const wanted = Math.ceil(window.shape[0] / Math.ceil(window.shape[0] / MOST_SLICES));
    if (this.slices.length === wanted) return;
    this.slices = Array.from({ length: wanted }, () => new Slice());
    this.row.replaceChildren(...this.slices.map((slice) => slice.element));
  }

  private words(window: WindowMessage, there: boolean, strongest: number, share: number): string {
    if (!there) return "No evidence came for this class.";
    const [from, to] = window.t;
    const when = to - ((strongest + 0.5) / window.shape[0]) * (to - from) - from;
    return `Oldest to newest over ${(to - from).toFixed(1)} s; the strongest slice, ${when.toFixed(1)} s before the end, has ${percent(share)} of the evidence.`;
  }
}

class Slice {
  readonly element: HTMLLIElement;
  private readonly canvas = h("canvas", { width: 1, height: 1, "aria-hidden": "true" });
  private readonly text = h("span", { class: "unseen" });
  private readonly bar = h("span", { class: "share" });

  constructor() {
    this.element = h("li", {}, this.canvas, this.bar, this.text);
  }

  mark(now: boolean): void {
    this.element.classList.toggle("now", now);
  }

  draw(
    window: WindowMessage,
    evidence: Float32Array | null,
    slice: number,
    scale: { low: number; high: number },
    colors: Uint8Array,
    first: number,
    share: number,
    trusted: boolean,
  ): void {
    const [, height, width] = window.shape;
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    const pen = this.canvas.getContext("2d");
    if (!pen) return;
    const pixels = pen.createImageData(width, height);
    for (let cell = 0; cell < width * height; cell++) {
      const value = evidence ? (evidence[slice * width * height + cell] - scale.low) / (scale.high - scale.low) : 0;
      const level = Math.min(255, Math.max(0, Math.floor(255 * (Number.isFinite(value) ? value : 0) + 0.5)));
      for (let channel = 0; channel < 3; channel++) pixels.data[4 * cell + channel] = colors[3 * level + channel];
      pixels.data[4 * cell + 3] = level >= first ? 255 : 40; // weaker evidence is not drawn on the picture either
    }
    pen.putImageData(pixels, 0, 0);
    this.bar.style.setProperty("--share", String(share));
    this.element.classList.toggle("untrusted", !trusted);
    const words = `slice ${slice + 1}: ${percent(share)} of the evidence${trusted ? "" : ", distorted by padding"}`;
    this.element.title = words;
    say(this.text, words);
  }
}
