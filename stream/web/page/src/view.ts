// One stream, enlarged: its picture, what the network says, when it said it, and how it is drawn and runs.

import { Answer } from "./answer";
import { h } from "./dom";
import { Facts } from "./facts";
import { Looks } from "./looks";
import { Operator } from "./operator";
import type { Session } from "./session";
import { Stage } from "./stage";
import type { Look } from "./state";
import type { Store } from "./store";
import { Strip } from "./strip";
import { Timeline } from "./timeline";
import { Transport } from "./transport";

export class View {
  readonly element: HTMLElement;
  readonly stage: Stage;
  readonly answer: Answer;
  readonly transport: Transport;
  readonly timeline: Timeline;
  private readonly parts: { close(): void }[];

  constructor(readonly session: Session, look: Store<Look>) {
    this.stage = new Stage(session, look);
    const picture = h("div", { class: "picture" });
    this.answer = new Answer(session, this.stage, look);
    this.transport = new Transport(session, this.stage, look, picture);
    this.timeline = new Timeline(session, this.stage, look);
    const strip = new Strip(session, this.stage, look);
    const looks = new Looks(session, this.stage, look);
    const facts = new Facts(session, this.stage);
    const operator = new Operator(session);
    this.parts = [this.answer, this.transport, this.timeline, strip, looks, facts, operator, this.stage, session];
    picture.append(this.stage.element, this.transport.divider, this.transport.state);
    const panels = [looks.element, facts.element, operator.element] as HTMLDetailsElement[];
    panels[0].open = matchMedia("(min-width: 64rem)").matches;
    panels[1].open = matchMedia("(min-width: 100rem) and (min-height: 60rem)").matches;
    this.element = h(
      "div",
      { class: "view new" },
      h("div", { class: "left" }, picture, this.transport.element, this.timeline.element, strip.element),
      h("div", { class: "right" }, this.answer.element, ...panels),
    );
    session.hello.watch(() => this.appear());
    session.connection.link.watch(() => this.appear());
    const name = (): void => void this.stage.element.querySelector("canvas, img")?.setAttribute("aria-label", `The video of ${session.name}, explained`);
    this.stage.kind.watch(name);
    this.stage.element.setAttribute("role", "img");
    this.stage.element.setAttribute("aria-label", `The video of ${session.name}, explained`);
  }

  /** Is seen once the size of the picture is known, or that there is none. */
  private appear(): void {
    const { hello, connection } = this.session;
    if (hello.get() || connection.link.get().state === "waiting") this.element.classList.remove("new");
  }

  close(): void {
    for (const part of this.parts) part.close();
    this.element.remove();
  }
}
