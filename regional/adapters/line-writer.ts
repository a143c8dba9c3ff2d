/** Time that lines of no urgency wait for others, ms, and the characters that wait at most: a write costs more than its line. */
const waitMs = 20;
const waitingCharactersMax = 64 * 1024;

const flushes = new Set<() => void>();

/** Writes what still waits when the process ends: standard output is written to synchronously. */
function flushAll(): void {
  for (const flush of flushes) flush();
}

/** Lines written together; one of urgency takes those before it along at once. The end of the process writes what is left. */
export function createLineWriter(
  write: (lines: string) => void,
): (line: string, isUrgent: boolean) => void {
  let waiting = "";
  let timer: NodeJS.Timeout | null = null;
  const flush = (): void => {
    if (timer !== null) clearTimeout(timer);
    timer = null;
    if (waiting === "") return;
    const lines = waiting;
    waiting = "";
    write(lines);
  };
  if (flushes.size === 0) process.on("exit", flushAll);
  flushes.add(flush);
  return (line, isUrgent) => {
    waiting += line;
    if (isUrgent || waiting.length > waitingCharactersMax) return flush();
    timer ??= setTimeout(flush, waitMs).unref();
  };
}
