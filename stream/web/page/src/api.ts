// What the page asks of the server beside the WebSocket.

import type { StreamStatus } from "./protocol";

/** All streams of the server, also those that are down. Rejects if the server does not answer. */
export async function streams(): Promise<StreamStatus[]> {
  const answer = await fetch(new URL("api/streams", document.baseURI), { cache: "no-store" });
  if (!answer.ok) throw new Error(`the server says ${answer.status} ${answer.statusText}`);
  return (await answer.json()) as StreamStatus[];
}
