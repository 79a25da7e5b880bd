// All streams side by side, each with what it sees; one that is down says why. A click enlarges one.

import { h, paced, say } from "./dom";
import type { StreamStatus } from "./protocol";
import { Session } from "./session";
import { Stage } from "./stage";
import type { Look } from "./state";
import { DEFAULT_LOOK } from "./state";
import { Store } from "./store";
import { away, percent } from "./words";

export class Wall {
  readonly element = h("ul", { class: "wall", "aria-label": "Streams" });
  private readonly tiles = new Map<string, Tile>();

  constructor(private readonly look: Store<Look>) {}

  /** Shows these streams, in this order. */
  show(streams: readonly StreamStatus[]): void {
    for (const [name, tile] of this.tiles) {
      if (streams.some((stream) => stream.name === name)) continue;
      tile.close();
      this.tiles.delete(name);
    }
    for (const stream of streams) {
      let tile = this.tiles.get(stream.name);
      if (!tile) {
        tile = new Tile(stream.name, () => this.look.patch({ stream: stream.name, explain: null, against: null }), this.look);
        this.tiles.set(stream.name, tile);
        this.element.append(tile.element);
      }
      tile.tell(stream);
    }
    const columns = Math.ceil(Math.sqrt(Math.max(1, streams.length)));
    this.element.style.setProperty("--columns", String(columns));
    this.element.style.setProperty("--rows", String(Math.ceil(Math.max(1, streams.length) / columns)));
  }

  close(): void {
    for (const tile of this.tiles.values()) tile.close();
    this.element.remove();
  }
}

class Tile {
  readonly element: HTMLElement;
  private readonly session: Session;
  private readonly stage: Stage;
  private readonly label = h("span", { class: "label" });
  private readonly state = h("span", { class: "state" });
  private readonly dot = h("span", { class: "dot", "aria-hidden": "true" });
  private readonly ends: (() => void)[];

  constructor(name: string, open: () => void, look: Store<Look>) {
    this.session = new Session(name);
    // A class that was chosen belongs to one stream; the wall shows what each stream explains itself.
    const own = new Store<Look>(DEFAULT_LOOK);
    this.stage = new Stage(this.session, own);
    this.ends = [
      look.watch((now) => own.set({ ...now, explain: null, against: null, split: 0 })),
      this.session.windows.changed.on(paced(() => this.draw())),
    ];
    const caption = h("span", { class: "caption" }, this.dot, h("strong", {}, name), this.label);
    const button = h("button", { type: "button", onclick: open, title: `Enlarge ${name}` }, this.stage.element, this.state, caption);
    this.element = h("li", { class: "tile" }, button);
  }

  tell(status: StreamStatus): void {
    this.element.classList.toggle("away", !status.connected);
    say(this.state, away(status));
    this.dot.dataset.state = status.connected ? "good" : "bad";
  }

  close(): void {
    for (const end of this.ends) end();
    this.stage.close();
    this.session.close();
    this.element.remove();
  }

  private draw(): void {
    const best = this.session.windows.newest?.top[0];
    say(this.label, best ? `${best.name} ${percent(best.p)}` : "");
  }
}
