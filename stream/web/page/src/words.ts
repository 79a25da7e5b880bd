// Numbers as people read them.

/** 0.42 s, 12 s, 3 min 05 s, 2 h 10 min. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "unknown";
  if (seconds < 1) return `${seconds.toFixed(2)} s`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${String(Math.floor(seconds % 60)).padStart(2, "0")} s`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

/** 82 %, 4.2 %, < 0.1 %. */
export function percent(share: number): string {
  if (!Number.isFinite(share)) return "-";
  if (share > 0 && share < 0.001) return "< 0.1 %";
  return share < 0.1 ? `${(100 * share).toFixed(1)} %` : `${Math.round(100 * share)} %`;
}

/** A time of day in this browser's own zone, or the time of the stream where it has none. */
export function clock(t: number, wall: number | null): string {
  if (wall !== null) return new Date(1000 * wall).toLocaleTimeString([], { hour12: false });
  return `${Math.floor(t / 60)}:${(t % 60).toFixed(1).padStart(4, "0")}`;
}

export function count(number: number, noun: string): string {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

/** Why a stream shows nothing, in the server's words; "" if all is well. */
export function away(status: { connected: boolean; state: string; why: string }): string {
  return status.connected ? "" : status.why || status.state;
}
