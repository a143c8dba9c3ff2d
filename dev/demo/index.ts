import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startDev } from "../supervisor/run-dev.ts";
import type { DevRun } from "../supervisor/run-dev.ts";
import { readDevFile } from "../supervisor/dev-file.ts";
import { streamAnswer } from "./stream-answer.ts";
import type { Piece } from "./stream-answer.ts";

/**
 * `npm run demo:failover`: starts the whole system, streams an answer to the terminal, kills the shard that gives it and then
 * the cell that runs it, and compares what the client got with the answer of a run that nothing happened to. Exit code 0 when
 * they are the same byte for byte, 1 when not.
 */
const prompt = "Tell a long story of the sea. [[tokens:420]]";
/** Characters of the answer after which the shard and the cell are killed. */
const shardDiesAt = 700;
const cellDiesAt = 1_500;

if (process.argv.length > 2) {
  process.stderr.write(
    `${process.argv[2] ?? ""}: unknown; npm run demo:failover takes no options\n`,
  );
  process.exit(2);
}

const folder = mkdtempSync(join(tmpdir(), "meridian-demo-"));
let run: DevRun | null = null;

async function stop(code: number): Promise<never> {
  await run?.stop();
  rmSync(folder, { recursive: true, force: true });
  process.exit(code);
}

process.on("SIGINT", () => void stop(130));
process.on("SIGTERM", () => void stop(143));

const root = fileURLToPath(new URL("../..", import.meta.url));
process.stdout.write("Starting the edge, three cells, eight shards, three databases …\n");
try {
  await startDev(
    {
      topologyPath: join(root, "topology.jsonc"),
      port: 0,
      statePath: join(folder, "state"),
      isFresh: false,
      engineUrl: null,
      ggufPath: null,
      replicationLagMs: 0,
    },
    { root, folder, environment: process.env, out: () => undefined, error: () => undefined },
    (started) => {
      run = started;
    },
  );
} catch (error) {
  process.stderr.write(`The system did not start: ${(error as Error).message}\n`);
  await stop(1);
}

const dev = readDevFile(join(folder, "state", "dev.json"));

/** Kills one process as an out-of-memory killer would. */
function kill(what: string, id: string, pid: number | undefined): void {
  if (pid === undefined) throw new Error(`${id} is not a process of this machine`);
  process.kill(pid, "SIGKILL");
  process.stdout.write(`\n\n   ── kill -9 ${pid}: ${what} ${id} is dead ──\n\n`);
}

const unbroken = await streamAnswer(dev, prompt, () => undefined);
process.stdout.write(`\nThe answer, from shard ${unbroken.shard}:\n\n`);

let text = "";
let shardDeadAtMs: number | null = null;
let cellDeadAtMs: number | null = null;
const gapsMs: number[] = [];
let isWaiting = false;

function show({ content, shard, atMs }: Piece): void {
  if (isWaiting) {
    gapsMs.push(atMs - (cellDeadAtMs ?? shardDeadAtMs ?? atMs));
    isWaiting = false;
  }
  text += content;
  process.stdout.write(content);
  if (shardDeadAtMs === null && text.length >= shardDiesAt) {
    kill("shard", shard, dev.shards.find(({ id }) => id === shard)?.pid);
    shardDeadAtMs = performance.now();
    isWaiting = true;
  } else if (cellDeadAtMs === null && text.length >= cellDiesAt) {
    const cell = dev.cells.find(({ id }) => shard.startsWith(`${id}/`));
    kill("cell", cell?.id ?? "", cell?.pid);
    cellDeadAtMs = performance.now();
    isWaiting = true;
  }
}

const broken = await streamAnswer(dev, prompt, show);
const isSame = broken.text === unbroken.text && broken.isWhole;
process.stdout.write(`

The client's stream went on: one HTTP response, one id, ${broken.events} events, event ids 1 to ${broken.lastEventId} without a gap.
   after the shard died   next piece after ${Math.round(gapsMs[0] ?? NaN)} ms
   after the cell died    next piece after ${Math.round(gapsMs[1] ?? NaN)} ms
   with both deaths       ${broken.text.length} characters, ${broken.outputTokens} tokens billed, ends with ${broken.isWhole ? "[DONE]" : "nothing"}
   without any            ${unbroken.text.length} characters, ${unbroken.outputTokens} tokens billed, ends with [DONE]
   byte for byte          ${isSame ? "the same" : "NOT THE SAME"}
`);
await stop(isSame ? 0 : 1);
