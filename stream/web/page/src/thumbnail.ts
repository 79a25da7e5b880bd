// The small picture of one past window, with its tube where the evidence is still here.

import { canvas2d } from "./canvas2d";
import { h, say } from "./dom";
import { Scales, blend } from "./evidence";
import type { Painter } from "./painter";
import { paletteOf } from "./palette";
import { centerOf } from "./placing";
import type { PastWindow } from "./protocol";
import { showNormalize } from "./scale";
import type { Session } from "./session";
import type { Stage } from "./stage";
import type { Look } from "./state";
import type { Readable } from "./store";
import { clock, percent } from "./words";

export class Thumbnail {
  readonly element: HTMLElement;
  private readonly canvas = h("canvas", { width: 16, height: 9, "aria-hidden": "true" });
  private readonly when = h("strong");
  private readonly classes = h("ul");
  private readonly note = h("small");
  private readonly painter: Painter | null = canvas2d(this.canvas);
  private readonly scales = new Scales();
  private readonly image = new Image();
  private window: PastWindow | null = null;

  constructor(
    private readonly session: Session,
    private readonly stage: Stage,
    private readonly look: Readable<Look>,
  ) {
    this.element = h("div", { class: "thumbnail", hidden: true }, this.canvas, this.when, this.classes, this.note);
    this.image.onload = () => this.draw();
    this.image.onerror = () => {
      this.element.classList.add("blank");
      say(this.note, "No picture of this window was kept.");
    };
  }

  close(): void {
    this.image.removeAttribute("src");
    this.element.remove();
  }

  /** at: 0..1, where on the time line the window lies. */
  show(window: PastWindow | null, at: number): void {
    this.element.hidden = window === null;
    if (!window) {
      this.window = null;
      return;
    }
    this.element.style.setProperty("--at", String(Math.min(Math.max(at, 0), 1)));
    if (window.n === this.window?.n) return;
    this.window = window;
    say(this.when, clock(window.t, window.wall));
    const rows = window.top.slice(0, 3).map(([id, p]) => h("li", {}, h("span", {}, this.session.windows.name(id)), h("span", {}, percent(p))));
    this.classes.replaceChildren(...rows);
    say(this.note, "");
    const path = `api/streams/${encodeURIComponent(this.session.name)}/windows/${window.n}/thumbnail.jpg`;
    this.image.src = new URL(path, document.baseURI).href;
  }

  private draw(): void {
    const { window, painter, session } = this;
    const hello = session.hello.get();
    if (!window || !painter || !hello) return;
    this.element.classList.remove("blank");
    const look = this.look.get();
    const full = session.windows.window(window.n);
    const normalize = look.normalize ?? hello.style.normalize;
    const asServer = showNormalize(normalize) === showNormalize(hello.style.normalize);
    const question = { explain: look.explain, against: look.against, normalize, asServer, smoothed: hello.sync === "live" };
    const cells = full && blend([[full.n, 1]], centerOf(full), 1, session.windows, question, this.scales);
    const [width, height] = [this.image.naturalWidth, this.image.naturalHeight];
    painter.draw({ source: this.image, width, height, cells, palette: paletteOf(this.stage.tint()), split: 0, outline: null });
    say(this.note, cells ? "" : full ? "No evidence came for this class." : "Its evidence is no longer here.");
  }
}
