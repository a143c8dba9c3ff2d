import { existsSync, readFileSync, readdirSync } from "node:fs";
import type { DevFile } from "../../supervisor/dev-file.ts";

/** A running process. */
export interface ProcessFact {
  readonly pid: number;
  /** Leader of its group; each part of a system leads one. */
  readonly group: number;
  readonly residentBytes: number;
}

/** A part of a system and the process that leads it. */
export interface PartProcess {
  readonly name: string;
  readonly pid: number;
}

/** Linux reports memory in pages of this size on the machines that Node runs on (getconf PAGESIZE). */
const pageBytes = 4_096;

/** The parts of a system that are processes of this machine. */
export function partsOf(file: DevFile): readonly PartProcess[] {
  const parts: readonly { readonly name: string; readonly pid?: number }[] = [
    { ...file.edge, name: "edge" },
    { ...file.health, name: "health KV" },
    ...file.cells.map((part) => ({ ...part, name: part.id })),
    ...file.shards.map((part) => ({ ...part, name: part.id })),
    ...file.databases.map((part) => ({ ...part, name: `database ${part.region}` })),
  ];
  return parts.flatMap(({ name, pid }) => (pid === undefined ? [] : [{ name, pid }]));
}

/** The live processes of the groups that `leaders` lead; none where there is no /proc. */
export function processesOf(leaders: ReadonlySet<number>): readonly ProcessFact[] {
  if (!existsSync("/proc/self/stat")) return [];
  return readdirSync("/proc").flatMap((name) => {
    const fact = /^[0-9]+$/.test(name) ? readFact(Number(name)) : null;
    return fact !== null && leaders.has(fact.group) ? [fact] : [];
  });
}

/** State, group and resident pages of a process: fields 3, 5 and 24 (proc(5)). Zombies are none. */
function readFact(pid: number): ProcessFact | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    if (fields[0] === "Z" || fields[0] === "X") return null;
    return { pid, group: Number(fields[2]), residentBytes: Number(fields[21]) * pageBytes };
  } catch {
    return null;
  }
}

/** Whether a process lives. */
export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
