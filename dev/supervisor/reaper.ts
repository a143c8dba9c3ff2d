/**
 * Ends what the supervisor leaves behind. It reads `add PID` and `remove PID` lines of process groups from its standard
 * input; when that closes, because the supervisor was killed, it ends every group that is left, and then itself.
 */
import { createInterface } from "node:readline";

const groups = new Set<number>();
const patienceMs = 3_000;

function signalAll(signal: NodeJS.Signals): void {
  for (const pid of groups) {
    try {
      process.kill(-pid, signal);
    } catch {
      groups.delete(pid);
    }
  }
}

// Only the end of the pipe ends the reaper: a Ctrl-C in the terminal is the supervisor's to handle.
process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => undefined);

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const match = /^(add|remove) (\d+)$/.exec(line);
    const pid = Number(match?.[2]);
    if (match?.[1] === "add") groups.add(pid);
    else groups.delete(pid);
  })
  .on("close", () => {
    signalAll("SIGTERM");
    if (groups.size === 0) process.exit(0);
    setTimeout(() => {
      signalAll("SIGKILL");
      process.exit(0);
    }, patienceMs);
  });
