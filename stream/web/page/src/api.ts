// What the page asks of the server beside the WebSocket.

import type { StreamStatus } from "./protocol";

/** All streams of the server, also those that are down. Rejects if the server does not answer. */
export async function streams(): Promise<StreamStatus[]> {
  const answer = await fetch(new URL("api/streams", document.baseURI), { cache: "no-store" });
  if (answer.status === 401) location.reload(); // the server asks for its token: it gives a form in the page's place
  if (!answer.ok) throw new Error(`the server says ${answer.status} ${answer.statusText}`);
  return (await answer.json()) as StreamStatus[];
}

/** Changes a stream for everybody. Rejects with the server's reason. token: the operator's, or "" where a cookie has it. */
export async function change(stream: string, wanted: Record<string, string | number>, token: string): Promise<void> {
  const headers: Record<string, string> = { "Content-Type": "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  const path = `api/streams/${encodeURIComponent(stream)}/controls`;
  const answer = await fetch(new URL(path, document.baseURI), { method: "PATCH", headers, body: JSON.stringify(wanted) });
  if (answer.ok) return;
  const told = (await answer.json().catch(() => null)) as { error?: string } | null;
  throw new Error(told?.error ?? `the server says ${answer.status} ${answer.statusText}`);
}
