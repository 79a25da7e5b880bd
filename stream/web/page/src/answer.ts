// What the network says: the class that is explained, since when, whether to believe it, and the five most probable ones.

import { ICONS, h, icon, paced, say } from "./dom";
import type { PastWindow, Score, WindowMessage } from "./protocol";
import type { Session } from "./session";
import type { ShownFrame, Stage } from "./stage";
import type { Look } from "./state";
import type { Store } from "./store";
import { duration, percent } from "./words";

const ROWS = 5;

export class Answer {
  readonly element: HTMLElement;
  private readonly title = h("h2", { class: "class" });
  private readonly since = h("p", { class: "since" });
  private readonly belief = h("p", { class: "belief", role: "status" });
  private readonly hint = h("p", { class: "hint" });
  private readonly rows: Row[];
  private readonly pin: HTMLButtonElement;
  private readonly ends: (() => void)[];

  constructor(
    private readonly session: Session,
    private readonly stage: Stage,
    private readonly look: Store<Look>,
  ) {
    this.rows = Array.from({ length: ROWS }, (_, at) => new Row((against) => this.choose(at, against)));
    this.pin = h("button", { type: "button", class: "chip", title: "Keep explaining this class (P)", onclick: () => this.togglePin() });
    this.pin.append(icon(ICONS.pin), "Pin");
    const list = h("ol", { class: "bars", "aria-label": "The most probable classes" }, ...this.rows.map((row) => row.element));
    this.element = h(
      "section",
      { class: "answer", "aria-label": "What the network sees" },
      h("div", { class: "headline" }, this.title, this.pin),
      this.since,
      this.belief,
      list,
      this.hint,
    );
    const draw = paced(() => this.draw());
    this.ends = [session.windows.changed.on(draw), look.watch(draw), stage.shown.watch(draw), session.status.watch(draw)];
  }

  close(): void {
    for (const end of this.ends) end();
  }

  /** A class is explained by the first choice, and the next one is what it is explained against; again, neither is. */
  choose(at: number, against = false): void {
    const id = this.window()?.top[at]?.id;
    if (id === undefined || !this.canChoose) return;
    const { explain } = this.look.get();
    this.look.patch(chosen(this.look.get(), id, against ? (explain ?? this.explained()?.id ?? null) : explain));
  }

  /** Follows what the stream explains. */
  release(): void {
    this.look.patch({ explain: null, against: null });
  }

  togglePin(): void {
    const now = this.explained();
    if (this.look.get().explain !== null) this.release();
    else if (now && this.canChoose) this.look.patch({ explain: now.id, against: null });
  }

  private get canChoose(): boolean {
    return (this.session.hello.get()?.classes ?? 0) > 0;
  }

  /** The window that is drawn, or the newest one. */
  private window(): WindowMessage | null {
    const { windows } = this.session;
    const part = this.stage.player.state.get().following ? undefined : this.stage.shown.get()?.parts.at(-1);
    return (part && windows.window(part[0])) ?? windows.newest;
  }

  private explained(): Score | null {
    return this.window()?.explained[0] ?? null;
  }

  private draw(): void {
    const window = this.window();
    const look = this.look.get();
    const { windows } = this.session;
    const first = look.explain ?? window?.explained[0]?.id ?? null;
    const second = look.explain !== null ? look.against : (window?.explained[1]?.id ?? null);
    const title = first === null ? "Waiting for the first window" : windows.name(first);
    say(this.title, second === null ? title : `${title} against ${windows.name(second)}`);
    const score = window?.top.find((one) => one.id === first) ?? window?.explained.find((one) => one.id === first);
    const long = first === null ? null : since(windows.past, first);
    say(this.since, window ? [score ? percent(score.p) : "not among the five", long].filter(Boolean).join(" · ") : "\u00a0");
    this.element.classList.toggle("empty", window === null);
    this.pin.setAttribute("aria-pressed", String(look.explain !== null));
    this.pin.disabled = !this.canChoose;
    this.rows.forEach((row, at) => row.draw(window?.top[at] ?? null, first, second, this.canChoose));
    const [word, tone] = believe(this.session, this.stage.shown.get(), window, first);
    say(this.belief, word);
    this.belief.dataset.tone = tone;
    say(this.hint, this.say(first, second));
  }

  private say(first: number | null, second: number | null): string {
    const hello = this.session.hello.get();
    if (hello && !this.canChoose) return hello.why_no_classes || "Only the class that the stream explains has evidence.";
    if (this.look.get().explain === null) return "Choose a class to see its own evidence.";
    if (second !== null) return "Orange speaks for the first class and against the second.";
    return first === null ? "" : "Choose another class to see what speaks for this one against it.";
  }
}

/** One of the five classes. */
class Row {
  readonly element: HTMLLIElement;
  private readonly button: HTMLButtonElement;
  private readonly name = h("span", { class: "name" });
  private readonly value = h("span", { class: "value" });
  private readonly bar = h("span", { class: "bar" });

  constructor(choose: (against: boolean) => void) {
    const onclick = (event: MouseEvent): void => choose(event.shiftKey);
    this.button = h("button", { type: "button", disabled: true, onclick }, this.name, this.value, h("span", { class: "track" }, this.bar));
    this.element = h("li", {}, this.button);
  }

  draw(score: Score | null, first: number | null, second: number | null, can: boolean): void {
    say(this.name, score?.name ?? "\u00a0");
    say(this.value, score ? percent(score.p) : "");
    this.bar.style.setProperty("--share", String(score?.p ?? 0));
    const role = score === null ? "" : score.id === first ? "a" : score.id === second ? "b" : "";
    this.element.dataset.role = role;
    this.element.classList.toggle("none", score === null);
    this.button.disabled = score === null || !can;
    this.button.setAttribute("aria-pressed", String(role !== ""));
  }
}

/** The look after a class was chosen. `explain`: what is explained before. */
export function chosen(look: Look, id: number, explain: number | null): Partial<Look> {
  if (explain === null) return { explain: id, against: null };
  if (id === explain) return { explain: null, against: null };
  return { explain, against: id === look.against ? null : id };
}

/** For how long a class has been the most probable one; null if it is not. */
export function since(past: readonly PastWindow[], id: number): string | null {
  const newest = past.at(-1);
  if (newest?.top[0]?.[0] !== id) return null;
  let at = past.length - 1;
  while (at > 0 && past[at - 1].top[0]?.[0] === id) at--;
  const seconds = newest.t - past[at].t;
  return seconds > 0 ? `leading for ${at === 0 && past.length > 1 ? "over " : ""}${duration(seconds)}` : "leading now";
}

type Tone = "good" | "warn" | "bad" | "none";

/** Whether to believe what is drawn, in words. */
function believe(session: Session, shown: ShownFrame | null, window: WindowMessage | null, first: number | null): [string, Tone] {
  const hello = session.hello.get();
  if (!shown || !hello || !window) return ["\u00a0", "none"];
  if (shown.damaged) return ["This frame is damaged: it is shown, and not explained.", "warn"];
  if (shown.awaited > 0) return [`No evidence has come for ${duration(shown.awaited)}.`, "bad"];
  if (!shown.parts.length) return ["Nothing is drawn: the evidence is too old, or not there yet.", "bad"];
  if (!shown.drawn) {
    const why = first === null ? "" : ` for ${session.windows.name(first)}`;
    return [`No evidence came${why}: it is not among the five most probable classes.`, "warn"];
  }
  if (shown.opacity < 1) return [`Fading: the evidence is ${duration(shown.age)} old.`, "warn"];
  const old = shown.age > 0 ? `Evidence is ${duration(shown.age)} old` : "Evidence is of this very frame";
  return window.damaged ? [`${old}; ${window.damaged} of its frames were damaged.`, "warn"] : [`${old}.`, "good"];
}
