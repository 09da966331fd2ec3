// What the operating system knows of a server's process, and of the wire before it.
import { readFileSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/** Clock ticks a second in /proc. */
const TICKS = 100;

/** Of CPU, in one second: less than this is nothing. */
const NOTHING = 0.03;

/** A server that does nothing for so long is done. */
const DONE_S = 3;

/** Seconds of CPU that a server took so far. */
export function cpuOf({ process: { pid } }) {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

/** From here on the peak of its memory is counted anew. */
export const forgetPeak = ({ process: { pid } }) => writeFileSync(`/proc/${pid}/clear_refs`, "5");

/** Its memory in MiB: `VmRSS`, or the peak, `VmHWM`. */
export function memoryOf({ process: { pid } }, which) {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(new RegExp(`^${which}:\\s+(\\d+) kB`, "m").exec(status)[1]) / 1024;
}

/** Waits until none of the servers has anything left to do, for 15 minutes at most; since when that is so, and what CPU each had taken. */
export async function quiet(...servers) {
  const deadline = Date.now() + 900_000;
  let before = servers.map(cpuOf);
  for (let calm = 0, since = Date.now(); ; ) {
    await sleep(1000);
    const now = servers.map(cpuOf);
    const rests = now.every((cpu, n) => cpu - before[n] < NOTHING);
    if (!rests) [calm, since] = [0, Date.now()];
    else if (++calm >= DONE_S) return { since, cpu: now };
    if (Date.now() > deadline) throw new Error("a server does not come to rest");
    before = now;
  }
}

/** Counts the bytes of TCP payload before a relay, in both directions; answers with what gives their sum so far. */
export function wireOf({ server }) {
  const sockets = new Set();
  // Between two messages nobody hangs up.
  server.keepAliveTimeout = 600_000;
  server.on("connection", (socket) => sockets.add(socket));
  return () => [...sockets].reduce((sum, { bytesRead, bytesWritten }) => sum + bytesRead + bytesWritten, 0);
}
