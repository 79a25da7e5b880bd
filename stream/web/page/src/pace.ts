// How fast the video plays, so that it stays a constant small delay behind the present.

/** Seconds off the target that are not worth a change of speed. */
const TOLERANCE = 0.02;
/** Speeds: while a little early or late; where there is nothing left to show; where much is to be made up for. */
const SLOWER = 0.95;
const SLOWEST = 0.5;
const FASTEST = 1.5;

/** How fast to play, `behind` seconds behind the newest frame, to be `target` seconds behind it soon. */
export function speed(behind: number, target: number): number {
  const off = behind - target;
  if (Math.abs(off) < TOLERANCE) return 1;
  if (behind < TOLERANCE) return SLOWEST;
  return Math.min(Math.max(1 + off, SLOWER), FASTEST);
}
