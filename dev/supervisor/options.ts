import { resolve } from "node:path";
import { parseArgs } from "node:util";

/** What `npm run dev` was asked for. */
export interface DevOptions {
  readonly topologyFile: string;
  /** 0 asks for a free port. */
  readonly port: number;
  readonly stateDir: string;
  readonly isFresh: boolean;
  readonly engineUrl: string | null;
  readonly replicationLagMs: number;
}

export const devUsage = `npm run dev -- [options]
  --topology FILE          another topology (default topology.jsonc)
  --port N                 the edge's port (default 8787; 0 = a free one)
  --state DIR              where state is kept (default .meridian)
  --fresh                  start without kept state
  --engine URL             serve the models of a running OpenAI-compatible server
  --replication-lag-ms N   lag of the health KV's replicas (default 0)
  --help`;

/** A start that cannot go on; the message is for a person, the exit code for a script. */
export class StartError extends Error {
  override readonly name = "StartError";
  readonly exitCode: number;

  constructor(message: string, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

function wholeNumber(name: string, text: string, max: number): number {
  if (!/^\d{1,9}$/.test(text) || Number(text) > max) {
    throw new StartError(`--${name}: got "${text}", wanted a whole number from 0 to ${max}`, 2);
  }
  return Number(text);
}

/** The options in `args`. @throws StartError (exit code 2) for unknown, repeated or misshapen ones; null for --help. */
export function parseDevOptions(args: readonly string[], folder: string): DevOptions | null {
  const text = { type: "string", multiple: true } as const;
  let values: Record<string, string[] | boolean | undefined>;
  try {
    ({ values } = parseArgs({
      args: [...args],
      strict: true,
      allowPositionals: false,
      options: {
        topology: text,
        port: text,
        state: text,
        engine: text,
        "replication-lag-ms": text,
        fresh: { type: "boolean" },
        help: { type: "boolean" },
      },
    }));
  } catch (error) {
    throw new StartError(
      `${error instanceof Error ? error.message : "wrong options"}\n\n${devUsage}`,
      2,
    );
  }
  if (values["help"] === true) return null;
  const one = (name: string): string | undefined => {
    const given = values[name];
    if (!Array.isArray(given)) return undefined;
    if (given.length > 1)
      throw new StartError(`--${name} was given ${given.length} times, wanted once`, 2);
    return given[0];
  };
  const engineUrl = one("engine") ?? null;
  if (engineUrl !== null && !/^https?:\/\/\S+$/.test(engineUrl)) {
    throw new StartError(`--engine: got "${engineUrl}", wanted an http or https URL`, 2);
  }
  return {
    topologyFile: resolve(folder, one("topology") ?? "topology.jsonc"),
    port: wholeNumber("port", one("port") ?? "8787", 65_535),
    stateDir: resolve(folder, one("state") ?? ".meridian"),
    isFresh: values["fresh"] === true,
    engineUrl,
    replicationLagMs: wholeNumber(
      "replication-lag-ms",
      one("replication-lag-ms") ?? "0",
      3_600_000,
    ),
  };
}
