// How this viewer's own picture is drawn. Nobody else's changes by it.

import { COLORMAP_NAMES } from "./colormaps";
import { commandOf } from "./command";
import { h, say } from "./dom";
import { gradientOf } from "./palette";
import { parseNormalize } from "./scale";
import type { Session } from "./session";
import type { Stage } from "./stage";
import type { Look } from "./state";
import { DEFAULT_LOOK } from "./state";
import type { Store } from "./store";

let numbered = 0;

export class Looks {
  readonly element: HTMLElement;
  private readonly swatch = h("span", { class: "swatch", "aria-hidden": "true" });
  private readonly refresh: (() => void)[] = [];
  private readonly ends: (() => void)[];
  private readonly said = h("p", { class: "note", role: "status" });
  private readonly fixed: HTMLInputElement;
  private readonly paper = h("p", { class: "note", hidden: true });

  constructor(
    private readonly session: Session,
    private readonly stage: Stage,
    private readonly look: Store<Look>,
  ) {
    const tint = () => stage.tint();
    this.fixed = this.limits();
    this.element = h(
      "details",
      { class: "panel looks" },
      h("summary", {}, "How it looks to you"),
      this.range("Threshold", "weaker evidence leaves the picture untouched", () => tint().threshold, (threshold) => look.patch({ threshold })),
      this.range("Opacity", "of strong evidence", () => tint().alpha, (alpha) => look.patch({ alpha })),
      this.select("Colours", COLORMAP_NAMES.map((name) => [name, named(name)]), () => tint().colormap, (colormap) => look.patch({ colormap })),
      this.swatch,
      this.select("Full colour is", SCALES, () => this.normalize().mode, (mode) => this.scale(mode)),
      this.fixed.parentElement as HTMLElement,
      this.select("Each frame shows", SYNCS, () => look.get().sync ?? session.hello.get()?.sync ?? "live", (sync) => look.patch({ sync: sync as Look["sync"] })),
      this.paper,
      this.tick("A thin line around what the network looks at", () => look.get().outline, (outline) => look.patch({ outline })),
      h("div", { class: "buttons" },
        h("button", { type: "button", onclick: () => this.reset() }, "As the stream draws it"),
        h("button", { type: "button", onclick: () => void this.copy() }, "Copy as command line")),
      this.said,
    );
    const draw = (): void => this.draw();
    this.ends = [look.watch(draw), session.hello.watch(draw)];
  }

  close(): void {
    for (const end of this.ends) end();
  }

  private draw(): void {
    for (const work of this.refresh) work();
    this.swatch.style.setProperty("background-image", gradientOf(this.stage.tint().colormap));
    const style = this.session.hello.get()?.style;
    const other = style?.focus ? "a focus map" : style?.geometry === "paper" ? "the geometry of the paper" : "";
    this.paper.hidden = !other;
    say(this.paper, `The stream itself is drawn with ${other}; this page draws each cell as the area that it stands for.`);
    const normalize = this.normalize();
    (this.fixed.parentElement as HTMLElement).hidden = normalize.mode !== "fixed";
    if (normalize.mode === "fixed" && document.activeElement !== this.fixed) this.fixed.value = `${normalize.low} ${normalize.high}`;
  }

  private normalize(): NonNullable<Look["normalize"]> {
    return this.look.get().normalize ?? this.session.hello.get()?.style.normalize ?? { mode: "positive" };
  }

  private scale(mode: string): void {
    const newest = this.session.windows.newest;
    const high = Math.max(Number((newest?.high ?? 1).toFixed(2)), 0.01);
    this.look.patch({ normalize: mode === "fixed" ? { mode, low: 0, high } : { mode: mode as "positive" | "volume" } });
  }

  private limits(): HTMLInputElement {
    const id = `limits-${++numbered}`;
    const input = h("input", { id, type: "text", inputmode: "decimal", autocomplete: "off", spellcheck: "false" });
    input.addEventListener("change", () => {
      const normalize = parseNormalize(`fixed:${input.value.trim().split(/[\s,;:]+/).join(":")}`);
      input.setAttribute("aria-invalid", String(normalize === null));
      if (normalize) this.look.patch({ normalize });
    });
    h("div", { class: "field", hidden: true }, h("label", { for: id }, "From and to, in logits"), input);
    return input;
  }

  private reset(): void {
    const { stream, explain, against } = this.look.get();
    this.look.set({ ...DEFAULT_LOOK, stream, explain, against });
    say(this.said, "");
  }

  private async copy(): Promise<void> {
    const text = commandOf(this.session, this.look.get());
    try {
      await navigator.clipboard.writeText(text);
      say(this.said, `Copied: ${text}`);
    } catch {
      say(this.said, text); // the clipboard may be forbidden: it can be selected here
    }
  }

  private range(name: string, meaning: string, value: () => number, set: (value: number) => void): HTMLElement {
    const id = `look-${++numbered}`;
    const output = h("output", { for: id });
    const input = h("input", { id, type: "range", min: 0, max: 1, step: 0.01, title: meaning });
    input.addEventListener("input", () => set(Number(input.value)));
    this.refresh.push(() => {
      input.value = String(value());
      say(output, `${Math.round(100 * value())} %`);
    });
    return h("div", { class: "field" }, h("label", { for: id }, name), output, input);
  }

  private select(name: string, options: readonly (readonly [string, string])[], value: () => string, set: (value: string) => void): HTMLElement {
    const id = `look-${++numbered}`;
    const select = h("select", { id }, ...options.map(([key, text]) => h("option", { value: key }, text)));
    select.addEventListener("change", () => set(select.value));
    this.refresh.push(() => {
      select.value = value();
    });
    return h("div", { class: "field" }, h("label", { for: id }, name), select);
  }

  private tick(text: string, value: () => boolean, set: (value: boolean) => void): HTMLElement {
    const input = h("input", { type: "checkbox" });
    input.addEventListener("change", () => set(input.checked));
    this.refresh.push(() => {
      input.checked = value();
    });
    return h("label", { class: "tick" }, input, text);
  }
}

const SCALES = [
  ["positive", "the strongest evidence for the class"],
  ["volume", "the strongest of all slices, as in the paper"],
  ["fixed", "a number of logits"],
] as const;
const SYNCS = [
  ["live", "the newest evidence (live)"],
  ["aligned", "its own evidence, later (aligned)"],
] as const;

function named(colormap: string): string {
  return colormap === COLORMAP_NAMES[0] ? `${colormap} (safe for the colour-blind)` : colormap;
}
