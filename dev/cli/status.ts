import { connect } from "node:net";
import * as z from "zod";
import type { DevFile } from "../supervisor/dev-file.ts";
import { formatTable } from "../supervisor/summary.ts";
import type { CommandIo } from "./receipts.ts";
import { readRunningSystem } from "./running-system.ts";

/** How long a part may take to answer, ms. */
const answerMsMax = 3_000;

const shardsSchema = z.object({
  data: z.array(z.object({ id: z.string(), state: z.string(), in_flight: z.number().nullable() })),
});

const cellsSchema = z.object({
  data: z.array(z.object({ id: z.string(), level: z.number().nullable() })),
});

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

/** What operators made of shards, by id; empty when the edge does not tell. */
async function askDrains(file: DevFile): Promise<ReadonlyMap<string, string>> {
  const notes = new Map<string, string>();
  try {
    const response = await fetch(`${file.edge.url}/admin/v1/shards`, {
      headers: { authorization: `Bearer ${file.keys["admin"] ?? ""}` },
      signal: AbortSignal.timeout(answerMsMax),
    });
    const { data } = shardsSchema.parse(await response.json());
    for (const { id, in_flight: inFlight, state } of data) {
      if (state === "draining") notes.set(id, `, draining (${inFlight ?? 0} in flight)`);
      if (state === "drained") notes.set(id, ", drained");
    }
  } catch {
    // The edge's own line says that it does not answer.
  }
  return notes;
}

/** Degradation levels of cells, by id; empty when the edge does not tell. */
async function askLevels(file: DevFile): Promise<ReadonlyMap<string, string>> {
  try {
    const response = await fetch(`${file.edge.url}/admin/v1/cells`, {
      headers: { authorization: `Bearer ${file.keys["admin"] ?? ""}` },
      signal: AbortSignal.timeout(answerMsMax),
    });
    const { data } = cellsSchema.parse(await response.json());
    return new Map(data.map(({ id, level }) => [id, level === null ? "" : `, level ${level}`]));
  } catch {
    return new Map();
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

/** `status`: asks every part of a running `npm run dev`; a cell's degradation level is shown, and a drained shard as one; both are ready. 0 when all are ready, 1 when not or when nothing runs. */
export async function runStatusCommand(statePath: string, io: CommandIo): Promise<number> {
  const file = readRunningSystem(statePath, io);
  if (file === null) return 1;
  const [states, drains, levels] = await Promise.all([
    askAll(file),
    askDrains(file),
    askLevels(file),
  ]);
  const rows = states.map(({ part, id, state }) => {
    const notes = part === "shard" ? drains : part === "cell" ? levels : null;
    const note = notes?.get(id) ?? "";
    return [part, id, `${state}${note}`];
  });
  for (const line of formatTable([["PART", "ID", "STATE"], ...rows])) io.out(line);
  return states.every(({ state }) => state === "ready") ? 0 : 1;
}
