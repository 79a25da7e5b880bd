// The page: begins with the streams of the server, and shows the one that is asked for.

import { streams } from "./api";
import * as modules from "./modules";
import { Session } from "./session";
import { Stage } from "./stage";
import { keepLook } from "./state";

const look = keepLook();

Object.assign(window, { saliencyTubes: { modules } });

async function start(): Promise<void> {
  const known = await streams();
  const name = known.some((stream) => stream.name === look.get().stream) ? look.get().stream : known[0]?.name;
  if (!name) throw new Error("the server has no stream");
  const session = new Session(name);
  const stage = new Stage(session, look);
  document.querySelector("#stage")?.append(stage.element);
  // For tests: what the canvas shows, and a way to stand still at a frame.
  Object.assign(window, {
    saliencyTubes: { frame: () => stage.shown.get(), freeze: (t: number) => stage.show(t), look, session, stage, modules },
  });
}

start().catch((error: unknown) => {
  const said = document.querySelector("#said");
  if (said) said.textContent = String(error instanceof Error ? error.message : error);
  setTimeout(() => start(), 2000);
});
