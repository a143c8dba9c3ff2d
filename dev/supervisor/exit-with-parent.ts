/**
 * Loaded with --import into a part that has no such switch of its own: the supervisor holds the other end of standard
 * input, and it closes however the supervisor ends, kill -9 included. The part is then asked to end, and a second
 * later its whole process group is killed: a killed wrangler leaves its workerd running otherwise.
 */
const graceMs = 1_500;

function end(): void {
  process.kill(process.pid, "SIGTERM");
  // The group is this part's own: the supervisor starts each part as the leader of one.
  setTimeout(() => process.kill(-process.pid, "SIGKILL"), graceMs);
}

process.stdin.once("end", end).once("error", end);
process.stdin.resume();
