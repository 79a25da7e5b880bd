// How the stream is, in words: what /metrics knows.

import { h, say } from "./dom";
import type { Problem, RunningStatus } from "./protocol";
import type { Session } from "./session";
import type { Stage } from "./stage";
import { away, count, duration } from "./words";

export class Facts {
  readonly element: HTMLElement;
  private readonly list = h("dl", { class: "facts" });
  private readonly problems = h("ul", { class: "problems" });
  private readonly known = new Map<string, [HTMLElement, HTMLElement]>();
  private readonly ends: (() => void)[];

  constructor(
    private readonly session: Session,
    private readonly stage: Stage,
  ) {
    this.element = h("details", { class: "panel" }, h("summary", {}, "How it runs"), this.problems, this.list);
    const draw = (): void => this.draw();
    this.ends = [session.status.watch(draw), stage.kind.watch(draw)];
  }

  close(): void {
    for (const end of this.ends) end();
  }

  private draw(): void {
    const status = this.session.status.get();
    if (!status) return;
    this.tell(status.problems);
    const rows = [...wordsOf(status), ["On this page", this.here()] as const];
    for (const [name, text] of rows) {
      let row = this.known.get(name);
      if (!row) {
        row = [h("dt", {}, name), h("dd")];
        this.known.set(name, row);
        this.list.append(h("div", {}, ...row));
      }
      say(row[1], text);
    }
    for (const [name, row] of this.known) row[0].parentElement?.toggleAttribute("hidden", !rows.some((one) => one[0] === name));
  }

  private tell(problems: readonly Problem[]): void {
    const key = JSON.stringify(problems);
    if (this.problems.dataset.key === key) return;
    this.problems.dataset.key = key;
    const rows = problems.map(({ reason, detail, remedy, failing }) =>
      h("li", { "data-tone": failing ? "bad" : "warn" }, h("strong", {}, capital(reason.replaceAll("_", " "))), detail && `: ${detail}`, remedy && h("em", {}, capital(remedy))),
    );
    this.problems.replaceChildren(...rows);
  }

  private here(): string {
    const { behind, rejoined } = this.stage.player.state.get();
    const why = this.stage.why.get();
    if (this.stage.kind.get() === "mjpeg") return `pictures as JPEGs: ${why}`;
    const drawn = this.stage.kind.get() === "webgl" ? "drawn by WebGL" : "drawn by Canvas 2D, since WebGL is missing";
    return `${drawn}, ${Math.round(1000 * behind)} ms behind what was received${rejoined > 1 ? `; went back to the present ${count(rejoined - 1, "time")}` : ""}`;
  }
}

/** The status as names and sentences. Pure. */
export function wordsOf(status: RunningStatus): (readonly [string, string])[] {
  const lost = Object.entries(status.dropped).flatMap(([place, reasons]) =>
    Object.entries(reasons)
      .filter(([, number]) => number > 0)
      .map(([reason, number]) => `${number.toLocaleString("en")} at ${place} (${reason})`),
  );
  const sinks = status.sinks.map((sink) => `${sink.name}: ${sink.state}${sink.note ? ` (${sink.note})` : ""}`);
  const facts = Object.entries(status.facts).map(([name, value]) => [capital(name), value] as const);
  return [
    ["Source", away(status) || status.state],
    ["Pictures", `${rate(status.fps_in)} come in a second, ${rate(status.fps_out)} leave`],
    ["Explained", `${rate(status.windows_per_second)} windows a second`],
    ["Age of the tube", status.tube_age === null ? "none yet" : duration(status.tube_age)],
    ["Delay", status.latency_ms === null ? "not measured yet" : `${Math.round(status.latency_ms)} ms from arrival to the outputs`],
    ["Lost", lost.length ? lost.join(", ") : "nothing"],
    ["Reconnects", status.reconnects ? count(status.reconnects, "time") : "none"],
    ["Decoder", status.decoder_errors ? count(status.decoder_errors, "error") : "no errors"],
    ["Watching", count(status.viewers ?? 0, "viewer")],
    ["Running for", duration(status.uptime)],
    ["Outputs", sinks.join("; ")],
    ...facts,
  ];
}

function rate(number: number | null): string {
  return number === null || !Number.isFinite(number) ? "no" : number.toFixed(1);
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
