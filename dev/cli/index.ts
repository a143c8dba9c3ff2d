/** `npm run meridian -- COMMAND`: the operator's command line. */
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { keyDigest, newTenantKey } from "../supervisor/secrets.ts";
import { StartError } from "../supervisor/state-folder.ts";
import { readTopologyFile } from "../supervisor/topology-file.ts";
import { receiptsUsage, runReceiptsCommand } from "./receipts.ts";
import type { CommandIo } from "./receipts.ts";

const usage = `npm run meridian -- COMMAND
${receiptsUsage}
meridian topology check [FILE]
  Checks a topology file (default topology.jsonc): exit 1 with every problem as path, got, wanted.
meridian keys new --jurisdiction NAME --tenant NAME
  Makes an API key. It is printed once; the topology gets its SHA-256.
meridian status [--state DIR]
  Asks every part of a running npm run dev whether it is ready.`;

const io: CommandIo = {
  readStandardInput: () => readFileSync(0, "utf8"),
  out: (line) => void process.stdout.write(`${line}\n`),
  error: (line) => void process.stderr.write(`${line}\n`),
  environment: process.env,
  folder: process.cwd(),
};

function refuseUsage(): number {
  io.error(usage);
  return 2;
}

function checkTopologyFile(args: readonly string[]): number {
  const [verb, file = "topology.jsonc", ...rest] = args;
  if (verb !== "check" || rest.length > 0) return refuseUsage();
  try {
    const { topology } = readTopologyFile(resolve(file));
    io.out(
      `${file} is valid: ${topology.jurisdictions.size} jurisdictions, ${topology.cells.size} cells.`,
    );
    return 0;
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    io.error(error.message);
    return 1;
  }
}

function newKey(args: readonly string[]): number {
  const [verb, ...pairs] = args;
  const options = new Map<string, string>();
  for (let index = 0; index < pairs.length; index += 2)
    options.set(pairs[index] ?? "", pairs[index + 1] ?? "");
  const jurisdiction = options.get("--jurisdiction") ?? "";
  const tenant = options.get("--tenant") ?? "";
  const name = /^[a-z][a-z0-9-]{0,31}$/;
  if (verb !== "new" || options.size !== 2 || !name.test(jurisdiction) || !name.test(tenant)) {
    return refuseUsage();
  }
  const key = newTenantKey(jurisdiction, tenant);
  io.out(`key       ${key}`);
  io.out(`topology  "sha256:${keyDigest(key)}"`);
  return 0;
}

interface Answering {
  readonly name: string;
  readonly url: string;
}

async function showStatus(args: readonly string[]): Promise<number> {
  const [flag, folder = ".meridian", ...rest] = args;
  if ((flag !== undefined && flag !== "--state") || rest.length > 0) return refuseUsage();
  const file = join(resolve(folder), "dev.json");
  if (!existsSync(file)) {
    io.error(`Nothing runs here: ${file} does not exist. Start with npm run dev.`);
    return 1;
  }
  const system = JSON.parse(readFileSync(file, "utf8")) as {
    edge: { url: string };
    cells: { id: string; url: string }[];
    shards: { id: string; url: string }[];
  };
  const parts: Answering[] = [
    { name: "edge", url: `${system.edge.url}/readyz` },
    ...system.cells.map(({ id, url }) => ({ name: `cell ${id}`, url: `${url}/readyz` })),
    ...system.shards.map(({ id, url }) => ({ name: `shard ${id}`, url: `${url}/models` })),
  ];
  const states = await Promise.all(
    parts.map(async ({ name, url }) => {
      try {
        const response = await fetch(url, { signal: AbortSignal.timeout(2_000) });
        await response.body?.cancel();
        return { name, state: response.ok ? "ready" : `not ready (${response.status})` };
      } catch {
        return { name, state: "does not answer" };
      }
    }),
  );
  for (const { name, state } of states) io.out(`${name.padEnd(32)} ${state}`);
  return states.every(({ state }) => state === "ready") ? 0 : 1;
}

async function run(args: readonly string[]): Promise<number> {
  const [command, ...rest] = args;
  if (command === "receipts") return runReceiptsCommand(rest, io);
  if (command === "topology") return checkTopologyFile(rest);
  if (command === "keys") return newKey(rest);
  if (command === "status") return showStatus(rest);
  if (command === "help") {
    io.out(usage);
    return 0;
  }
  return refuseUsage();
}

process.exitCode = await run(process.argv.slice(2));
