import { existsSync, openSync, closeSync, readSync } from "node:fs";
import { basename, join } from "node:path";
import { installCommand } from "../gguf-engine/llama-library.ts";
import { StartError } from "./state-folder.ts";
import type { TopologyFile } from "./topology-file.ts";

/** Engines that are started for one file: two, so that one can be killed. The file's weights are in memory once. */
export const ggufEngines = 2;
/** Prompts that one engine runs at once. */
export const ggufSequences = 4;
/** Context that an engine is started with; a model that was trained with less has less. */
export const ggufContextTokensMax = 4_096;

/** A GGUF file that is served. */
export interface GgufModel {
  readonly path: string;
  /** After the file; never one of a simulated engine. */
  readonly name: string;
}

/** Looks at a file and at what is needed to serve it. @throws StartError that says what is missing and what to run. */
export function openGgufModel(path: string, root: string): GgufModel {
  if (!isGguf(path)) throw new StartError(`--gguf: ${path} is no readable GGUF file.`);
  if (!hasLlamaLibrary(root))
    throw new StartError(
      `--gguf: the optional package node-llama-cpp is not installed. Run, in ${root}:\n  ${installCommand}\n(Linux on x64; other platforms: dev/gguf-engine/README.md)`,
    );
  const name = basename(path)
    .replace(/\.gguf$/i, "")
    .replace(/[^a-zA-Z0-9._-]/g, "-")
    .replace(/^[^a-zA-Z0-9]+/, "")
    .slice(0, 128);
  return { path, name: name === "" ? "gguf" : name };
}

/** Whether the optional package of the engine is installed in the project at `root`. */
export function hasLlamaLibrary(root: string): boolean {
  return existsSync(join(root, "dev/gguf-engine/node_modules/node-llama-cpp/package.json"));
}

/** Whether the file begins as GGUF files do. */
function isGguf(path: string): boolean {
  try {
    const file = openSync(path, "r");
    const magic = Buffer.alloc(4);
    readSync(file, magic, 0, magic.length, 0);
    closeSync(file);
    return magic.toString("latin1") === "GGUF";
  } catch {
    return false;
  }
}

/** The id of the engine with this number among a cell's shards. */
export function ggufShard(cell: string, engine: number): string {
  return `${cell}/gguf-${engine}`;
}

/** The topology with the model on every cell, instead of its own models and shards: all cells share the engines. */
export function serveGguf(file: TopologyFile, { name }: GgufModel): TopologyFile {
  const shards: TopologyFile["shards"] = {};
  for (const cell of Object.keys(file.cells)) {
    for (let engine = 0; engine < ggufEngines; engine += 1) {
      shards[ggufShard(cell, engine)] = {
        cell,
        model: name,
        // Its port is found when it starts.
        backend: { kind: "openai-compatible", url: "http://127.0.0.1:0/v1" },
        capacity: {
          concurrentRequestsMax: ggufSequences,
          kvTokensMax: ggufSequences * ggufContextTokensMax,
        },
        purchase: "on-demand",
        pricePerHourMicroUsd: 0,
      };
    }
  }
  const models: TopologyFile["models"] = {
    [name]: {
      revision: "gguf",
      contextTokensMax: ggufContextTokensMax,
      capabilities: ["chat", "completions"],
      priceMicroUsdPerMillionTokens: { input: 0, output: 0 },
    },
  };
  return { ...file, models, shards };
}
