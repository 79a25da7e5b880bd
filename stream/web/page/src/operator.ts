// What changes the stream for everybody. The server asks for the operator's token and writes a line into its log.

import { change } from "./api";
import { h, say } from "./dom";
import type { Session } from "./session";

let numbered = 0;

export class Operator {
  readonly element: HTMLElement;
  private readonly said = h("p", { class: "note", role: "status" });
  private readonly explain = h("input", { type: "text", autocomplete: "off", placeholder: "top1, a class, or A:B" });
  private readonly hold = h("input", { type: "number", min: 1, max: 1000, step: 1, inputmode: "numeric" });
  private readonly age = h("input", { type: "number", min: 0.1, max: 600, step: "any", inputmode: "decimal" });
  private readonly token = h("input", { type: "password", autocomplete: "off" });
  private readonly end: () => void;

  constructor(private readonly session: Session) {
    const form = h(
      "form",
      { onsubmit: (event: SubmitEvent) => this.send(event) },
      field("Explain", this.explain),
      field("Windows that a class must lead", this.hold),
      field("Oldest evidence drawn, in seconds", this.age),
      field("Operator's token", this.token),
      h("div", { class: "buttons" }, h("button", { type: "submit", class: "strong" }, "Change it for everybody")),
    );
    this.element = h(
      "details",
      { class: "panel operator" },
      h("summary", {}, "Change the stream for everybody"),
      h("p", { class: "note" }, "These change what all viewers, recordings and messages get. Each change is written into the log."),
      form,
      this.said,
    );
    this.end = session.hello.watch((hello) => {
      (this.token.parentElement as HTMLElement).hidden = hello?.operator ?? false;
      if (hello) this.age.placeholder = String(hello.max_age);
    });
  }

  close(): void {
    this.end();
  }

  private send(event: SubmitEvent): void {
    event.preventDefault();
    const wanted: Record<string, string | number> = {};
    if (this.explain.value.trim()) wanted.explain = this.explain.value.trim();
    if (this.hold.value) wanted.hold = Number(this.hold.value);
    if (this.age.value) wanted.max_age = Number(this.age.value);
    if (!Object.keys(wanted).length) {
      say(this.said, "Nothing is filled in.");
      return;
    }
    change(this.session.name, wanted, this.token.value)
      .then(() => say(this.said, "Changed for everybody."))
      .catch((error: Error) => say(this.said, error.message));
  }
}

function field(name: string, input: HTMLInputElement): HTMLElement {
  input.id = `operator-${++numbered}`;
  return h("div", { class: "field" }, h("label", { for: input.id }, name), input);
}
