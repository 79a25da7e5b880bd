// The keyboard: one letter a command. Letters can be switched off, for those who speak to their computer.

import { h } from "./dom";
import { Store } from "./store";
import type { View } from "./view";

const KEY = "saliency-tubes.keys";

export interface Commands {
  view(): View | null;
  wall(): void;
  theme(): void;
}

interface Command {
  keys: readonly string[];
  name: string;
  does: string;
  run(view: View | null, commands: Commands, key: string): void;
}

const COMMANDS: readonly Command[] = [
  { keys: [" ", "k"], name: "space", does: "stand still, or go on", run: (view) => view?.transport.pausePlay() },
  { keys: ["ArrowLeft", ","], name: "left, right", does: "one frame back or on", run: (view) => void view?.stage.step(-1) },
  { keys: ["ArrowRight", "."], name: "", does: "", run: (view) => void view?.stage.step(1) },
  { keys: ["l"], name: "L", does: "back to the present", run: (view) => view?.stage.play() },
  { keys: ["d"], name: "D", does: "divider between raw and explained", run: (view) => view?.transport.toggleDivider() },
  { keys: ["1", "2", "3", "4", "5"], name: "1 to 5", does: "explain that class; another one: against it", run: (view, _, key) => view?.answer.choose(Number(key) - 1) },
  { keys: ["0"], name: "0", does: "explain what the stream explains", run: (view) => view?.answer.release() },
  { keys: ["p"], name: "P", does: "keep explaining this class", run: (view) => view?.answer.togglePin() },
  { keys: ["f"], name: "F", does: "full screen", run: (view) => view?.transport.fullScreen() },
  { keys: ["s"], name: "S", does: "keep this picture, with its data", run: (view) => void view?.transport.snapshot() },
  { keys: ["w"], name: "W", does: "all streams", run: (_, commands) => commands.wall() },
  { keys: ["t"], name: "T", does: "dark or light", run: (_, commands) => commands.theme() },
];

/** A dialog that lists the keys. "?" opens it. */
export function listen(commands: Commands): HTMLDialogElement {
  const on = new Store(remembered());
  const tick = h("input", { type: "checkbox", onchange: () => on.set(tick.checked) });
  on.watch((value) => {
    tick.checked = value;
    remember(value);
  });
  const rows = COMMANDS.filter((command) => command.name).map((command) => h("div", {}, h("dt", {}, h("kbd", {}, command.name)), h("dd", {}, command.does)));
  const dialog = h(
    "dialog",
    { class: "keys", "aria-label": "Keys" },
    h("h2", {}, "Keys"),
    h("dl", {}, ...rows),
    h("label", { class: "tick" }, tick, "Letters are commands"),
    h("form", { method: "dialog", class: "buttons" }, h("button", { class: "strong" }, "Close")),
  );
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || dialog.open || isTyping(event.target, event.key)) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key === "?" && on.get()) dialog.showModal();
    const command = COMMANDS.find((one) => one.keys.includes(key));
    if (!command || (!on.get() && key.length === 1)) return;
    command.run(commands.view(), commands, key);
    event.preventDefault();
  });
  return dialog;
}

/** Whether a key belongs to what has the focus: letters to a text, space to a button, arrows to a slider. */
function isTyping(target: EventTarget | null, key: string): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target.matches("input:not([type=checkbox]):not([type=range]), textarea, select")) return true;
  if (key === " ") return target.matches("button, summary, input, a");
  return key.startsWith("Arrow") && target.matches("[role=slider], input");
}

function remembered(): boolean {
  try {
    return localStorage.getItem(KEY) !== "off";
  } catch {
    return true;
  }
}

function remember(value: boolean): void {
  try {
    if (value) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, "off");
  } catch {
    // then it is for this visit
  }
}
