// The page: which streams the server has, and one of them enlarged, or all of them as a wall.

import { streams } from "./api";
import { h, iconButton, say } from "./dom";
import { listen } from "./keys";
import * as modules from "./modules";
import type { StreamStatus } from "./protocol";
import { Session } from "./session";
import { keepLook } from "./state";
import { applyTheme, toggleTheme } from "./theme";
import { View } from "./view";
import { Wall } from "./wall";

/** Milliseconds between two looks at which streams there are. */
const EVERY = 2000;

applyTheme();
const look = keepLook();
const tabs = h("nav", { class: "tabs", "aria-label": "Streams" });
const said = h("p", { class: "said", role: "status" });
const main = h("main");
let known: StreamStatus[] = [];
let view: View | null = null;
let wall: Wall | null = null;

const dialog = listen({ view: () => view, wall: showWall, theme });
document.body.append(
  h("header", { class: "top" },
    h("h1", {}, h("img", { src: new URL("static/icon.svg", document.baseURI).href, alt: "", width: 22, height: 22 }), "Saliency Tubes"),
    tabs,
    h("div", { class: "chips" }, iconButton("keys", "Keys", () => dialog.showModal(), "?"), iconButton("theme", "Dark or light", theme, "T"))),
  main,
  said,
  dialog,
);
offer();
look.watch(show);
void poll();

function theme(): void {
  toggleTheme();
  view?.timeline.redraw();
}

function showWall(): void {
  if (known.length > 1) look.patch({ stream: "", explain: null, against: null });
}

async function poll(): Promise<void> {
  try {
    known = await streams();
    say(said, known.length ? "" : "The server has no stream.");
    show();
  } catch (error) {
    say(said, `No answer from the server: ${error instanceof Error ? error.message : String(error)}`);
  }
  setTimeout(poll, EVERY);
}

/** Shows what the look asks for: a stream that there is, the only one, or the wall. */
function show(): void {
  const asked = look.get().stream;
  const name = known.some((stream) => stream.name === asked) ? asked : known.length === 1 ? known[0].name : "";
  if (!known.length) return;
  drawTabs(name);
  document.title = `${name || `${known.length} streams`} - Saliency Tubes`;
  if (name) {
    wall = closed(wall);
    if (view?.session.name !== name) {
      view = closed(view);
      view = new View(new Session(name, look.get().transport ?? "messages"), look);
      main.replaceChildren(view.element);
      offer();
    }
    for (const stream of known) if (stream.name === name) view.transport.list(stream);
  } else {
    view = closed(view);
    if (!wall) {
      wall = new Wall(look);
      main.replaceChildren(wall.element);
    }
    wall.show(known);
  }
}

function closed(part: { close(): void } | null): null {
  part?.close();
  return null;
}

function drawTabs(name: string): void {
  const key = JSON.stringify([known.map((stream) => [stream.name, stream.connected]), name]);
  tabs.hidden = known.length < 2;
  if (tabs.dataset.key === key) return;
  tabs.dataset.key = key;
  const tab = (text: string, stream: string, good: boolean): HTMLElement =>
    h("button", { type: "button", "aria-current": stream === name ? "page" : null, onclick: () => look.patch({ stream, explain: null, against: null }) },
      stream ? h("span", { class: "dot", "data-state": good ? "good" : "bad", "aria-hidden": "true" }) : null, text);
  tabs.replaceChildren(tab("All", "", true), ...known.map((stream) => tab(stream.name, stream.name, stream.connected)));
}

/** For tests: what the canvas shows, and a way to stand still at a frame. */
function offer(): void {
  const stage = view?.stage;
  Object.assign(window, {
    saliencyTubes: { modules, look, session: view?.session, stage, frame: () => stage?.shown.get(), freeze: (t: number) => stage?.show(t) },
  });
}
