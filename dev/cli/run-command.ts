import { resolve } from "node:path";
import { adminName } from "#shared/config/topology-references.ts";
import { keyDigest, newTenantKey } from "../supervisor/secrets.ts";
import { StartError } from "../supervisor/state-folder.ts";
import { readTopologyFile } from "../supervisor/topology-file.ts";
import { planUsage, runPlanCommand } from "./plan.ts";
import { receiptsUsage, runReceiptsCommand } from "./receipts.ts";
import type { CommandIo } from "./receipts.ts";
import { runShardsCommand } from "./shards.ts";
import { runStatusCommand } from "./status.ts";

export const usage = `npm run meridian -- COMMAND
${receiptsUsage}
meridian topology check [FILE]
  Checks a topology file (default topology.jsonc): exit 1 with every problem as path, got, wanted.
meridian keys new --jurisdiction NAME --tenant NAME
  Makes an API key. It is printed once; the topology gets its SHA-256.
meridian status [--state DIR]
  Asks every part of a running npm run dev whether it is ready.
${planUsage}
meridian shards [--state DIR]
  What the cells of a running npm run dev say of their shards: state and why, expected time until ready, load, breaker, weight.
meridian help`;

/** Runs one command and returns its exit code: 0, 1 for an answer that is no, 2 for wrong usage. */
export async function runCommand(args: readonly string[], io: CommandIo): Promise<number> {
  const [command, ...rest] = args;
  if (command === "receipts") return runReceiptsCommand(rest, io);
  if (command === "topology") return checkTopology(rest, io);
  if (command === "keys") return makeKey(rest, io);
  if (command === "status") {
    const [flag, folder = ".meridian", ...more] = rest;
    const isUsable = (flag === undefined || flag === "--state") && more.length === 0;
    return isUsable && rest.length !== 1 ? runStatusCommand(folder, io) : refuse(io);
  }
  if (command === "plan") return runPlanCommand(rest, io);
  if (command === "shards") {
    const [flag, folder = ".meridian", ...more] = rest;
    const isUsable = (flag === undefined || flag === "--state") && more.length === 0;
    return isUsable && rest.length !== 1 ? runShardsCommand(folder, io) : refuse(io);
  }
  if (command === "help" && rest.length === 0) {
    io.out(usage);
    return 0;
  }
  return refuse(io);
}

function refuse(io: CommandIo): number {
  io.error(usage);
  return 2;
}

function checkTopology(args: readonly string[], io: CommandIo): number {
  const [verb, file = "topology.jsonc", ...rest] = args;
  if (verb !== "check" || rest.length > 0) return refuse(io);
  try {
    const { topology } = readTopologyFile(resolve(io.folder, file));
    const shards = [...topology.jurisdictions.values()].flatMap((one) => one.shards).length;
    io.out(
      `${file} is valid: ${topology.jurisdictions.size} jurisdictions, ${topology.cells.size} cells, ${shards} shards, ${topology.tenants.size} tenants.`,
    );
    return 0;
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    io.error(error.message);
    return 1;
  }
}

function makeKey(args: readonly string[], io: CommandIo): number {
  const [verb, ...pairs] = args;
  const options = new Map<string, string>();
  for (let index = 0; index < pairs.length; index += 2)
    options.set(pairs[index] ?? "", pairs[index + 1] ?? "");
  const jurisdiction = options.get("--jurisdiction") ?? "";
  const tenant = options.get("--tenant") ?? "";
  const name = /^[a-z][a-z0-9-]{0,31}$/;
  const isUsable = pairs.length === 4 && options.size === 2;
  if (verb !== "new" || !isUsable || !name.test(jurisdiction) || !name.test(tenant))
    return refuse(io);
  if (jurisdiction === adminName) {
    io.error(
      `--jurisdiction: got ${adminName}, wanted a jurisdiction of the topology. Keys of administrators begin with mk_${adminName}_ and carry no tenant.`,
    );
    return 2;
  }
  const key = newTenantKey(jurisdiction, tenant);
  io.out(`key       ${key}`);
  io.out(`topology  "sha256:${keyDigest(key)}"`);
  return 0;
}
