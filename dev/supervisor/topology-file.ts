import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import stripJsonComments from "strip-json-comments";
import { describeProblems, parseTopology } from "#shared/config/topology.ts";
import type { Topology, topologySchema } from "#shared/config/topology.ts";
import type * as z from "zod";
import { keySecret } from "./state-folder.ts";
import { StartError } from "./options.ts";

/** The file's own shape, before it is checked into a Topology. */
export type TopologyFile = z.infer<typeof topologySchema>;

/** Reads and checks a topology. @throws StartError with every problem: path, got, wanted. */
export function readTopologyFile(path: string): {
  readonly file: TopologyFile;
  readonly topology: Topology;
} {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    throw new StartError(`The topology ${path} cannot be read.`);
  }
  let value: unknown;
  try {
    value = JSON.parse(stripJsonComments(text, { trailingCommas: true }));
  } catch (error) {
    throw new StartError(
      `The topology ${path} is not JSON: ${error instanceof Error ? error.message : ""}`,
    );
  }
  return { file: value as TopologyFile, topology: checkTopology(value, path) };
}

/** @throws StartError when the topology has any problem. */
export function checkTopology(value: unknown, path: string): Topology {
  const result = parseTopology(value);
  if (result.ok) return result.topology;
  throw new StartError(`The topology ${path} is refused:\n${describeProblems(result.problems)}`);
}

/** Environment variables that shards and databases of the topology name and that are not set. */
export function missingVariables(
  file: TopologyFile,
  environment: Readonly<Record<string, string | undefined>>,
): readonly string[] {
  const named: string[] = [];
  for (const [id, shard] of Object.entries(file.shards)) {
    const { backend } = shard;
    if (backend.kind === "openai-compatible" && backend.apiKey !== undefined) {
      named.push(`${backend.apiKey} (shards.${id}.backend.apiKey)`);
    }
  }
  for (const [id, region] of Object.entries(file.regions)) {
    if (region.database !== "embedded") named.push(`${region.database} (regions.${id}.database)`);
  }
  return named.filter((entry) => {
    const name = entry.slice("env:".length, entry.indexOf(" "));
    return (environment[name] ?? "") === "";
  });
}

export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/**
 * Development keys: every tenant gets one of ours. A variable that is set stays as it is; one that is not, or a free
 * place, holds our key's digest.
 */
export function withDevKeys(
  file: TopologyFile,
  kept: Readonly<Record<string, string>>,
  adminKey: string,
  environment: Readonly<Record<string, string | undefined>>,
): { readonly file: TopologyFile; readonly keys: Readonly<Record<string, string>> } {
  const isSet = (entry: string): boolean => {
    if (!entry.startsWith("env:")) return true;
    return (environment[entry.slice("env:".length)] ?? "") !== "";
  };
  const keys: Record<string, string> = {};
  const tenants = Object.fromEntries(
    Object.entries(file.tenants).map(([id, tenant]) => {
      const key = kept[id] ?? `mk_${tenant.jurisdiction}_${id}_${keySecret()}`;
      const present = tenant.keys.filter(isSet);
      if (present.length >= 2) return [id, { ...tenant, keys: present }];
      keys[id] = key;
      return [id, { ...tenant, keys: [...present, `sha256:${sha256(key)}`] }];
    }),
  );
  const adminKeys = (file.admin?.keys ?? []).filter(isSet).slice(0, 1);
  return {
    file: { ...file, tenants, admin: { keys: [...adminKeys, `sha256:${sha256(adminKey)}`] } },
    keys,
  };
}

/** Serves `models` of a running server through every cell, in place of the topology's own shards. */
export function withEngine(
  file: TopologyFile,
  url: string,
  models: readonly string[],
): TopologyFile {
  const shards = Object.keys(file.cells).flatMap((cell) =>
    models.map((model, index) => [
      `${cell}/engine-${index}`,
      {
        cell,
        model,
        backend: { kind: "openai-compatible" as const, url },
        capacity: { concurrentRequestsMax: 16, kvTokensMax: 100_000 },
        purchase: "on-demand" as const,
        pricePerHourMicroUsd: 0,
      },
    ]),
  );
  return {
    ...file,
    models: Object.fromEntries(
      models.map((model) => [
        model,
        {
          revision: "running",
          contextTokensMax: 131_072,
          capabilities: ["chat", "completions", "embeddings", "tools", "json", "vision"] as const,
        },
      ]),
    ) as unknown as TopologyFile["models"],
    shards: Object.fromEntries(shards) as TopologyFile["shards"],
    tenants: Object.fromEntries(
      Object.entries(file.tenants).map(([id, { limits: _, ...tenant }]) => [id, tenant]),
    ),
  };
}
