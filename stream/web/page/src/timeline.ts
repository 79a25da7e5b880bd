// The last minutes of class probabilities, with gaps, drops and reconnects on them. Hovering shows that window.

import { fresh, h, paced, themed } from "./dom";
import type { PastWindow } from "./protocol";
import type { Session } from "./session";
import type { Stage } from "./stage";
import type { Look } from "./state";
import type { Readable } from "./store";
import { Thumbnail } from "./thumbnail";
import { clock, percent } from "./words";

const SPANS = [60, 300];
const LINES = 5;
/** Pixels above and below the lines, and at the right for the newest point. */
const EDGE = { top: 8, bottom: 20, left: 2, right: 8 };
/** Seconds between two windows that are joined by a line, at most, in units of the usual distance. */
const JOINED = 3;

export class Timeline {
  readonly element: HTMLElement;
  private readonly canvas = h("canvas", {
    class: "timeline",
    tabindex: 0,
    role: "slider",
    "aria-label": "Time: choose a window",
    "aria-valuemin": -SPANS[SPANS.length - 1],
    "aria-valuemax": 0,
    "aria-valuenow": 0,
  });
  private readonly legend = h("ul", { class: "legend" });
  private readonly thumbnail: Thumbnail;
  private readonly ends: (() => void)[];
  private readonly draw = paced(() => this.drawNow());
  private span = SPANS[0];
  private chosen: PastWindow | null = null;

  constructor(
    private readonly session: Session,
    private readonly stage: Stage,
    private readonly look: Readable<Look>,
  ) {
    this.thumbnail = new Thumbnail(session, stage, look);
    const spans = SPANS.map((seconds) =>
      h("button", { type: "button", class: "chip", "aria-pressed": String(seconds === this.span), onclick: () => this.show(seconds) }, `${seconds / 60} min`),
    );
    this.element = h(
      "section",
      { class: "time", "aria-label": "Classes over time" },
      h("div", { class: "row" }, h("h2", { class: "title" }, "Classes over time"), h("div", { class: "chips" }, ...spans)),
      h("div", { class: "plot" }, this.canvas, this.thumbnail.element),
      this.legend,
    );
    this.canvas.addEventListener("pointermove", (event) => this.choose(this.windowAt(event.offsetX)));
    this.canvas.addEventListener("pointerleave", () => this.choose(null));
    this.canvas.addEventListener("blur", () => this.choose(null));
    this.canvas.addEventListener("click", (event) => this.go(this.windowAt(event.offsetX)));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    const watcher = new ResizeObserver(this.draw);
    watcher.observe(this.canvas);
    this.ends = [session.windows.changed.on(this.draw), look.watch(this.draw), stage.shown.watch(this.draw), () => watcher.disconnect()];
  }

  close(): void {
    for (const end of this.ends) end();
    this.thumbnail.close();
  }

  /** Draws anew, as after a change of the theme. */
  redraw(): void {
    this.draw();
  }

  private show(seconds: number): void {
    this.span = seconds;
    for (const button of this.element.querySelectorAll(".chips button")) {
      button.setAttribute("aria-pressed", String(button.textContent === `${seconds / 60} min`));
    }
    this.draw();
  }

  private get end(): number {
    const { windows } = this.session;
    return Math.max(windows.past.at(-1)?.t ?? 0, windows.lastFrame?.t ?? 0);
  }

  private windowAt(x: number): PastWindow | null {
    const wide = this.canvas.clientWidth - EDGE.left - EDGE.right;
    const t = this.end - this.span * (1 - (x - EDGE.left) / wide);
    return nearest(this.session.windows.past, t, this.end - this.span);
  }

  private choose(window: PastWindow | null): void {
    this.chosen = window;
    const end = this.end;
    const words = window ? spoken(window, (id) => this.session.windows.name(id)) : "now";
    this.canvas.setAttribute("aria-valuenow", String(window ? Math.round(window.t - end) : 0));
    this.canvas.setAttribute("aria-valuetext", words);
    const at = window ? 1 - (end - window.t) / this.span : 0;
    this.thumbnail.show(window, at);
    this.draw();
  }

  private key(event: KeyboardEvent): void {
    const { past } = this.session.windows;
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[event.key];
    if (event.key === "Enter") this.go(this.chosen);
    else if (event.key === "Escape") this.choose(null);
    else if (step !== undefined && past.length) {
      const now = this.chosen ? past.indexOf(this.chosen) : past.length - 1;
      this.choose(past[Math.min(Math.max(now + step, 0), past.length - 1)]);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Stands still at a window's last frame, if that is still there. */
  private go(window: PastWindow | null): void {
    const span = this.stage.player.span;
    if (window && span && window.t >= span[0]) void this.stage.show(window.t);
  }

  private drawNow(): void {
    const area = fresh(this.canvas);
    if (!area) return;
    const { pen, width, height } = area;
    const { windows } = this.session;
    const start = this.end - this.span;
    const x = (t: number): number => EDGE.left + ((t - start) / this.span) * (width - EDGE.left - EDGE.right);
    const y = (p: number): number => height - EDGE.bottom - p * (height - EDGE.top - EDGE.bottom);
    drawGrid(pen, width, y, x, start, this.span);
    for (const mark of windows.marks) if (mark.t >= start) drawMark(pen, x(mark.t), height, mark.kind);
    const shown = windows.past.filter((window) => window.t >= start);
    const ids = lines(shown, this.look.get(), LINES);
    const roles = ids.map((id) => this.role(id));
    ids.forEach((id, at) => drawLine(pen, shown, id, x, y, colorOf(roles[at], at), roles[at] ? 2.5 : 1.5));
    this.drawCursors(pen, x, height);
    this.drawLegend(ids, roles);
  }

  /** "a": what is explained, "b": against it, or "". */
  private role(id: number): "a" | "b" | "" {
    const look = this.look.get();
    const explained = this.session.windows.past.at(-1)?.explained ?? [];
    const [a, b] = look.explain === null ? explained : [look.explain, look.against];
    return id === a ? "a" : id === b ? "b" : "";
  }

  private drawCursors(pen: CanvasRenderingContext2D, x: (t: number) => number, height: number): void {
    const still = this.stage.player.state.get().following ? null : (this.stage.shown.get()?.t ?? null);
    const cursors: [number | null | undefined, string][] = [[still, "--text"], [this.chosen?.t, "--dim"]];
    for (const [t, color] of cursors) {
      if (t === null || t === undefined) continue;
      pen.fillStyle = themed(color);
      pen.fillRect(Math.round(x(t)), 0, 1, height - EDGE.bottom);
    }
  }

  private drawLegend(ids: number[], roles: string[]): void {
    const names = ids.map((id) => this.session.windows.name(id));
    const key = JSON.stringify([names, roles]);
    if (this.legend.dataset.key === key) return;
    this.legend.dataset.key = key;
    this.legend.replaceChildren(...names.map((name, at) => h("li", { "data-line": roles[at] || String(at) }, name)));
  }
}

/** The window whose end is nearest to a time; null if there is none from `start` on. */
export function nearest(past: readonly PastWindow[], t: number, start: number): PastWindow | null {
  let best: PastWindow | null = null;
  for (const window of past) {
    if (window.t >= start && (!best || Math.abs(window.t - t) < Math.abs(best.t - t))) best = window;
  }
  return best;
}

/** The classes that get a line: what the viewer asks for, then those that had the most of the time. */
export function lines(shown: readonly PastWindow[], look: Pick<Look, "explain" | "against">, most: number): number[] {
  const sums = new Map<number, number>();
  for (const { top } of shown) for (const [id, p] of top) sums.set(id, (sums.get(id) ?? 0) + p);
  const asked = [look.explain, look.against].filter((id): id is number => id !== null);
  const ranked = [...sums].sort((one, other) => other[1] - one[1]).map(([id]) => id);
  return [...new Set([...asked, ...(shown.at(-1)?.explained ?? []), ...ranked])].slice(0, most);
}

function spoken(window: PastWindow, name: (id: number) => string): string {
  const classes = window.top.slice(0, 3).map(([id, p]) => `${name(id)} ${percent(p)}`);
  return `${clock(window.t, window.wall)}: ${classes.join(", ")}`;
}

export function colorOf(role: string, at: number): string {
  return themed(role ? `--${role}` : `--line-${at % LINES}`);
}

function drawGrid(
  pen: CanvasRenderingContext2D, width: number, y: (p: number) => number, x: (t: number) => number, start: number, span: number,
): void {
  pen.font = "11px system-ui, sans-serif";
  pen.fillStyle = themed("--dim");
  pen.strokeStyle = themed("--line");
  pen.lineWidth = 1;
  for (const p of [0, 0.5, 1]) {
    const row = Math.round(y(p)) + 0.5;
    pen.beginPath();
    pen.moveTo(0, row);
    pen.lineTo(width, row);
    pen.stroke();
  }
  const step = span / 6;
  pen.textBaseline = "bottom";
  for (let at = 0; at <= 5; at += width < 420 ? 2 : 1) {
    pen.textAlign = at === 0 ? "left" : "center";
    const back = span - at * step;
    pen.fillText(back >= 60 ? `-${(back / 60).toFixed(back % 60 ? 1 : 0)} min` : `-${back.toFixed(0)} s`, x(start + at * step), y(0) + 19);
  }
  pen.textAlign = "right";
  pen.fillText("now", width, y(0) + 19);
}

function drawLine(
  pen: CanvasRenderingContext2D, shown: readonly PastWindow[], id: number,
  x: (t: number) => number, y: (p: number) => number, color: string, thick: number,
): void {
  const usual = shown.length > 1 ? (shown[shown.length - 1].t - shown[0].t) / (shown.length - 1) : 1;
  pen.strokeStyle = pen.fillStyle = color;
  pen.lineWidth = thick;
  pen.lineJoin = "round";
  pen.beginPath();
  let before: PastWindow | null = null;
  let point: readonly [number, number] | null = null;
  for (const window of shown) {
    const p = window.top.find((one) => one[0] === id)?.[1] ?? 0; // less than that of the fifth class
    point = [x(window.t), y(p)];
    if (before && window.t - before.t < JOINED * usual + 1) pen.lineTo(...point);
    else pen.moveTo(...point);
    before = window;
  }
  pen.stroke();
  if (!point) return;
  pen.beginPath();
  pen.arc(point[0], point[1], thick + 1, 0, 7);
  pen.fill();
}

/** What happened to the stream: a line through, and a sign at its foot that differs not by colour alone. */
function drawMark(pen: CanvasRenderingContext2D, x: number, height: number, kind: string): void {
  const color = themed(kind === "reconnect" || kind === "control" ? "--good" : "--bad");
  pen.strokeStyle = pen.fillStyle = color;
  pen.lineWidth = 1;
  pen.setLineDash(kind === "reconnect" || kind === "control" ? [] : [3, 3]);
  pen.beginPath();
  pen.moveTo(Math.round(x) + 0.5, 0);
  pen.lineTo(Math.round(x) + 0.5, height - EDGE.bottom);
  pen.stroke();
  pen.setLineDash([]);
  pen.textAlign = "center";
  pen.textBaseline = "top";
  pen.fillText({ gap: "⌀", drop: "▾", lost: "✕", reconnect: "↻", control: "✎" }[kind] ?? "•", x, 0);
}
