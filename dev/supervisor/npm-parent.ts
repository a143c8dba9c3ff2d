import { readFileSync } from "node:fs";

const lookMs = 500;
/** npm starts a shell, and the shell Node. */
const generationsMax = 3;

/**
 * Calls `onGone` when the npm that ran this script is killed: it then passes no signal on, and its script would go on
 * unseen. Looks at /proc; where there is none, and without npm, it does nothing.
 */
export function watchNpm(
  environment: Readonly<Record<string, string | undefined>>,
  onGone: () => void,
): void {
  if (environment["npm_lifecycle_event"] === undefined) return;
  const npm = findNpm();
  if (npm === null) return;
  const timer = setInterval(() => {
    if (isRunning(npm)) return;
    clearInterval(timer);
    onGone();
  }, lookMs);
  timer.unref();
}

function findNpm(): number | null {
  let pid = process.ppid;
  for (let generation = 0; generation < generationsMax && pid > 1; generation += 1) {
    if (/^npm\b|\/npm(-cli\.js)?\0|^npm /.test(read(pid, "cmdline") ?? "")) return pid;
    pid = Number(statusOf(pid)[1] ?? 0);
  }
  return null;
}

/** Still there, and not a zombie that its own parent has not buried. */
function isRunning(pid: number): boolean {
  const [state] = statusOf(pid);
  return state !== undefined && state !== "Z" && state !== "X";
}

/** State and parent of a process: the fields after its name, which stands in brackets (proc(5)). */
function statusOf(pid: number): readonly string[] {
  const text = read(pid, "stat");
  return text === null ? [] : text.slice(text.lastIndexOf(")") + 2).split(" ");
}

function read(pid: number, file: string): string | null {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return null;
  }
}
