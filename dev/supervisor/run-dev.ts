import { rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { createDeployment, neededVariables } from "./deployment.ts";
import type { Deployment } from "./deployment.ts";
import { writeDevFile } from "./dev-file.ts";
import { makeDevelopmentKeys } from "./development-keys.ts";
import { findLocalServers, readExternalEngine, serveExternalEngine } from "./external-engine.ts";
import { openGgufModel, serveGguf } from "./gguf-model.ts";
import type { GgufModel } from "./gguf-model.ts";
import type { DevOptions } from "./options.ts";
import { addReceiptKey } from "./receipt-keys.ts";
import { loadSecrets, receiptPublicKey, saveSecrets } from "./secrets.ts";
import { StartError, openStateFolder } from "./state-folder.ts";
import type { StateFolder } from "./state-folder.ts";
import { describeReady } from "./summary.ts";
import { readTopologyFile } from "./topology-file.ts";
import type { TopologyFile } from "./topology-file.ts";

/** Where the command runs and writes. */
export interface DevIo {
  /** The repository's root. */
  readonly root: string;
  /** The folder that paths of options are relative to. */
  readonly folder: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly out: (text: string) => void;
  readonly error: (text: string) => void;
}

/** A started `npm run dev`. */
export interface DevRun {
  /** Stops everything, in order; resolves when nothing runs any more. Repeated calls share one stop. */
  stop(): Promise<void>;
  /** Kills everything at once. */
  kill(): void;
}

/**
 * Starts the deployment of a topology and prints how to use it. Nothing is left running when it fails.
 * `onRun` gets the run before anything is started, so that a signal can end it.
 * @throws StartError with a text for the user.
 */
export async function startDev(
  options: DevOptions,
  io: DevIo,
  onRun: (run: DevRun) => void,
): Promise<void> {
  const gguf =
    options.ggufPath === null ? null : openGgufModel(resolve(io.folder, options.ggufPath), io.root);
  const file = await readTopology(options, gguf, io);
  const folder = openStateFolder(resolve(io.folder, options.statePath), options.isFresh);
  let deployment: Deployment | null = null;
  let stopping: Promise<void> | null = null;
  const stop = (): Promise<void> => {
    stopping ??= (async () => {
      await deployment?.stop();
      rmSync(folder.file("dev.json"), { force: true });
      folder.release();
    })();
    return stopping;
  };
  const kill = (): void => {
    deployment?.kill();
    rmSync(folder.file("dev.json"), { force: true });
    folder.release();
  };
  onRun({ stop, kill });
  try {
    rmSync(folder.file("dev.json"), { force: true });
    const prepared = prepareKeys(file, folder, io);
    let isReady = false;
    const publish = (): void => {
      if (isReady && stopping === null && deployment !== null)
        writeDevFile(folder.file("dev.json"), deployment.describe());
    };
    deployment = createDeployment(
      { root: io.root, options, gguf, folder, environment: io.environment, ...prepared },
      {
        onProgress: (line) => io.out(`${line}\n`),
        onMessage: (message) => io.error(`${message}\n`),
        onChange: publish,
      },
    );
    await deployment.start();
    isReady = true;
    publish();
    io.out(`${describeReady(deployment.describe(), firstChatModel(prepared.file))}\n`);
  } catch (error) {
    await stop();
    throw error;
  }
  if (options.engineUrl === null && gguf === null) await offerLocalServers(io);
}

async function readTopology(
  { engineUrl, topologyPath }: DevOptions,
  gguf: GgufModel | null,
  io: DevIo,
): Promise<TopologyFile> {
  const path = resolve(io.folder, topologyPath);
  const { file } = readTopologyFile(path);
  let served = file;
  if (engineUrl !== null) served = serveExternalEngine(file, await readExternalEngine(engineUrl));
  else if (gguf !== null) served = serveGguf(file, gguf);
  checkEnvironment(served, io.environment);
  return served;
}

/** @throws StartError for shards that nothing can start, and for variables that the topology names and nobody set. */
function checkEnvironment(file: TopologyFile, environment: DevIo["environment"]): void {
  const problems: string[] = [];
  for (const [id, { model, backend }] of Object.entries(file.shards)) {
    if (backend.kind === "simulated" && backend.url === undefined && !/^sim\/[\w.-]+$/.test(model))
      problems.push(
        `shards.${id}.model: got "${model}", wanted a name that begins with sim/, since its engine is simulated`,
      );
  }
  for (const cell of Object.keys(file.cells)) {
    for (const name of neededVariables(file, cell)) {
      if ((environment[name] ?? "") === "")
        problems.push(`${name}: got nothing, wanted the value that the topology names for ${cell}`);
    }
  }
  if (problems.length > 0)
    throw new StartError(
      `The topology cannot be started:\n${problems.map((p) => `  ${p}`).join("\n")}`,
    );
}

function prepareKeys(file: TopologyFile, folder: StateFolder, io: DevIo) {
  const secrets = loadSecrets(folder.file("secrets.json"));
  const keys = makeDevelopmentKeys(file, io.environment, secrets.apiKeys);
  const kept = { ...secrets, apiKeys: keys.kept };
  saveSecrets(folder.file("secrets.json"), kept);
  const publicKey = receiptPublicKey(kept);
  addReceiptKey(folder.file("receipt-keys.json"), publicKey);
  // Where `npm run meridian -- receipts verify` looks, whatever state folder is in use.
  addReceiptKey(join(io.root, ".meridian", "receipt-keys.json"), publicKey);
  return { secrets: kept, keys, file: keys.file };
}

function firstChatModel(file: TopologyFile): string | null {
  const served = new Set(Object.values(file.shards).map((shard) => shard.model));
  const found = Object.entries(file.models).find(
    ([id, model]) => served.has(id) && model.capabilities.includes("chat"),
  );
  return found?.[0] ?? null;
}

async function offerLocalServers(io: DevIo): Promise<void> {
  for (const origin of await findLocalServers()) {
    io.out(
      `A server on this machine speaks the OpenAI API. To serve its models: npm run dev -- --engine ${origin}\n`,
    );
  }
}
