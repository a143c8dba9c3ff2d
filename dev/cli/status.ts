import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { join, resolve } from "node:path";
import type { DevFile } from "../supervisor/dev-file.ts";
import { formatTable } from "../supervisor/summary.ts";
import type { CommandIo } from "./receipts.ts";

/** How long a part may take to answer, ms. */
const answerMsMax = 3_000;

/** One line of the answer. */
interface PartState {
  readonly part: string;
  readonly id: string;
  readonly state: string;
}

async function askHttp(url: string, token?: string): Promise<string> {
  try {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const response = await fetch(url, { headers, signal: AbortSignal.timeout(answerMsMax) });
    await response.arrayBuffer();
    return response.ok ? "ready" : `not ready (${response.status})`;
  } catch {
    return "does not answer";
  }
}

/** Whether something accepts connections there: the database itself is asked by its cell. */
function askTcp(url: string): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((done) => {
    const socket = connect({ host: hostname, port: Number(port === "" ? "5432" : port) });
    const end = (state: string): void => {
      socket.destroy();
      done(state);
    };
    socket.setTimeout(answerMsMax, () => end("does not answer"));
    socket.once("connect", () => end("ready")).once("error", () => end("does not answer"));
  });
}

function askAll(file: DevFile): Promise<readonly PartState[]> {
  const questions: readonly (readonly [string, string, Promise<string>])[] = [
    ["edge", Object.values(file.edge.hostnames).join(", "), askHttp(`${file.edge.url}/readyz`)],
    ...file.cells.map(({ id, url }) => ["cell", id, askHttp(`${url}/readyz`)] as const),
    ...file.shards.map(({ id, url }) => ["shard", id, askHttp(`${url}/models`)] as const),
    ...file.databases.map(({ region, url }) => ["database", region, askTcp(url)] as const),
    ["health KV", "-", askHttp(`${file.health.url}/ping`, file.health.token)],
  ];
  return Promise.all(
    questions.map(async ([part, id, state]) => ({ part, id, state: await state })),
  );
}

/** `status`: asks every part of a running `npm run dev`. 0 when all are ready, 1 when not or when nothing runs. */
export async function runStatusCommand(statePath: string, io: CommandIo): Promise<number> {
  const path = join(resolve(io.folder, statePath), "dev.json");
  let file: DevFile;
  try {
    file = JSON.parse(readFileSync(path, "utf8")) as DevFile;
  } catch {
    io.error(`Nothing runs here: ${path} does not exist. Start with npm run dev.`);
    return 1;
  }
  const states = await askAll(file);
  const rows = states.map(({ part, id, state }) => [part, id, state]);
  for (const line of formatTable([["PART", "ID", "STATE"], ...rows])) io.out(line);
  return states.every(({ state }) => state === "ready") ? 0 : 1;
}
