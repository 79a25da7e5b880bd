// The bar below the picture: stand still, step, go back to the present, full screen, snapshot. And the divider on it.

import { h, iconButton, say } from "./dom";
import type { StreamStatus } from "./protocol";
import type { Session } from "./session";
import { download, factsOf, picture } from "./snapshot";
import type { Stage } from "./stage";
import type { Look } from "./state";
import type { Store } from "./store";
import { away, clock, duration } from "./words";

export class Transport {
  readonly element: HTMLElement;
  /** the handle of the divider, to be laid over the picture */
  readonly divider: HTMLElement;
  /** what the stream is doing, to be laid over the picture where it is not well */
  readonly state = h("p", { class: "state", role: "status" });
  private readonly where = h("span", { class: "where" });
  private readonly toggle: HTMLButtonElement;
  private readonly present: HTMLButtonElement;
  private readonly ends: (() => void)[];
  private listed: StreamStatus | null = null;

  constructor(
    private readonly session: Session,
    private readonly stage: Stage,
    private readonly look: Store<Look>,
    private readonly picture: HTMLElement,
  ) {
    this.toggle = iconButton("pause", "Stand still", () => this.pausePlay(), "space");
    this.present = h("button", { type: "button", class: "chip live", title: "Back to the present (L)", onclick: () => stage.play() }, "Live");
    this.divider = this.makeDivider();
    this.element = h(
      "div",
      { class: "transport", role: "toolbar", "aria-label": "Picture" },
      iconButton("back", "One frame back", () => void stage.step(-1), "left"),
      this.toggle,
      iconButton("forward", "One frame on", () => void stage.step(1), "right"),
      this.present,
      this.where,
      iconButton("camera", "Keep this picture, with its data", () => void this.snapshot(), "S"),
      iconButton("full", "Full screen", () => this.fullScreen(), "F"),
    );
    const draw = (): void => this.draw();
    this.ends = [stage.player.state.watch(draw), stage.shown.watch(draw), session.connection.link.watch(draw), session.status.watch(draw), stage.kind.watch(draw)];
    this.ends.push(look.watch(() => this.place()));
  }

  close(): void {
    for (const end of this.ends) end();
  }

  pausePlay(): void {
    if (this.stage.player.state.get().following) this.stage.pause();
    else this.stage.play();
  }

  fullScreen(): void {
    if (document.fullscreenElement) void document.exitFullscreen();
    else void this.picture.requestFullscreen?.();
  }

  async snapshot(): Promise<void> {
    const facts = factsOf(this.session, this.stage, this.look.get());
    const name = `${this.session.name}-${new Date().toISOString().replace(/[:.]/g, "-")}`;
    try {
      download(await picture(this.stage, facts), `${name}.png`);
      download(new Blob([JSON.stringify(facts, null, 1)], { type: "application/json" }), `${name}.json`);
    } catch (error) {
      say(this.where, String(error instanceof Error ? error.message : error));
    }
  }

  /** Puts the divider into the middle, or away. */
  toggleDivider(): void {
    this.look.patch({ split: this.look.get().split > 0 ? 0 : 0.5 });
  }

  private draw(): void {
    const { following, behind } = this.stage.player.state.get();
    const frame = this.stage.shown.get();
    const jpegs = this.stage.kind.get() === "mjpeg";
    this.element.classList.toggle("still", !following);
    this.toggle.setAttribute("aria-pressed", String(!following));
    this.toggle.setAttribute("aria-label", following ? "Stand still" : "Go on");
    for (const button of this.element.querySelectorAll<HTMLButtonElement>("button.plain")) {
      if (button.title.match(/space|left|right/)) button.disabled = jpegs; // JPEGs are not kept
    }
    this.present.setAttribute("aria-pressed", String(following));
    const end = this.session.windows.lastFrame?.t;
    const still = !following && frame && end !== undefined ? `${clock(frame.t, null)}, ${duration(Math.max(0, end - frame.t))} before the newest` : "";
    say(this.where, still || (behind > 0.4 ? `${behind.toFixed(1)} s behind` : ""));
    this.tell();
  }

  /** What the server's list says of this stream: of one that is not open there is no more to be had. */
  list(status: StreamStatus): void {
    this.listed = status;
    this.tell();
  }

  /** Says over the picture why it does not go on. */
  private tell(): void {
    const link = this.session.connection.link.get();
    const status = this.session.status.get();
    const lost = link.state === "waiting" || (link.state === "connecting" && link.why);
    const why = this.listed && away(this.listed);
    say(this.state, !lost ? (status ? away(status) : "") : why || `No connection to the server (${link.why}); it is tried again.`);
    this.state.hidden = !this.state.textContent;
    this.picture.classList.toggle("away", Boolean(this.state.textContent));
  }

  private makeDivider(): HTMLElement {
    const handle = h("div", {
      class: "divider", role: "slider", tabindex: 0, "aria-label": "Divider: left of it the picture is as it came",
      "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": 0, title: "Drag: raw on the left, explained on the right (D)",
    });
    const move = (event: PointerEvent): void => {
      const box = this.picture.getBoundingClientRect();
      this.look.patch({ split: Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) });
    };
    handle.addEventListener("pointerdown", (event) => {
      handle.setPointerCapture(event.pointerId);
      handle.addEventListener("pointermove", move);
    });
    const end = (): void => handle.removeEventListener("pointermove", move);
    handle.addEventListener("pointerup", end);
    handle.addEventListener("pointercancel", end);
    handle.addEventListener("keydown", (event) => {
      const now = this.look.get().split;
      const to = { ArrowLeft: now - 0.02, ArrowRight: now + 0.02, Home: 0, End: 1 }[event.key];
      if (to === undefined) return;
      this.look.patch({ split: Math.min(1, Math.max(0, to)) });
      event.preventDefault();
      event.stopPropagation();
    });
    return handle;
  }

  private place(): void {
    const { split } = this.look.get();
    this.divider.style.setProperty("--split", String(split));
    this.divider.classList.toggle("away", split === 0);
    this.divider.setAttribute("aria-valuenow", String(Math.round(100 * split)));
  }
}
