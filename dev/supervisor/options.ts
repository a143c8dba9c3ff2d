import { parseArgs } from "node:util";

/** What `npm run dev` was asked for. */
export interface DevOptions {
  /** The topology file, as given. */
  readonly topologyPath: string;
  /** Port of the edge; 0 asks for a free one. */
  readonly port: number;
  /** The state folder, as given. */
  readonly statePath: string;
  readonly isFresh: boolean;
  /** A running OpenAI-compatible server whose models replace the topology's; null without one. */
  readonly engineUrl: string | null;
  /** A GGUF file, as given, whose model replaces the topology's; null without one. */
  readonly ggufPath: string | null;
  readonly replicationLagMs: number;
}

/** A command line that cannot be used; the message says which option, what it got and what is wanted. */
export class UsageError extends Error {}

/** Where the edge listens unless told otherwise; wrangler's default, and what the documentation shows. */
const portDefault = 8787;
/** Ten minutes: the most that the local health KV takes. */
const replicationLagMsMax = 600_000;

export const devUsage = `npm run dev -- [options]
  --topology FILE           the deployment to start (topology.jsonc)
  --port N                  port of the edge (${portDefault}); 0 asks for a free one
  --state DIR               state folder: keys, conversations, logs, dev.json (.meridian)
  --fresh                   forget the kept state first
  --engine URL              serve the models of a running OpenAI-compatible server
  --gguf FILE               serve a GGUF model (dev/gguf-engine/README.md)
  --replication-lag-ms N    how late each region sees writes to the health KV (0)
  --help                    this text`;

const flags = {
  topology: { type: "string" },
  port: { type: "string" },
  state: { type: "string" },
  fresh: { type: "boolean" },
  engine: { type: "string" },
  gguf: { type: "string" },
  "replication-lag-ms": { type: "string" },
  help: { type: "boolean" },
} as const;

/** Reads the command line; null asks for the usage text. @throws UsageError for an unknown, repeated or unusable option. */
export function parseDevOptions(args: readonly string[]): DevOptions | null {
  const { values, tokens } = read(args);
  const seen = new Set<string>();
  for (const token of tokens) {
    if (token.kind !== "option") continue;
    if (seen.has(token.name)) throw new UsageError(`--${token.name}: given twice, wanted once`);
    seen.add(token.name);
  }
  if (values.help === true) return null;
  if (values.engine !== undefined && values.gguf !== undefined)
    throw new UsageError("--gguf: got --engine too, wanted one of them");
  return {
    topologyPath: text("topology", values.topology, "a file") ?? "topology.jsonc",
    port: whole("port", values.port, 65_535) ?? portDefault,
    statePath: text("state", values.state, "a folder") ?? ".meridian",
    isFresh: values.fresh === true,
    engineUrl: engine(values.engine),
    ggufPath: text("gguf", values.gguf, "a GGUF file") ?? null,
    replicationLagMs:
      whole("replication-lag-ms", values["replication-lag-ms"], replicationLagMsMax) ?? 0,
  };
}

function read(args: readonly string[]) {
  try {
    const options = { args: [...args], options: flags, strict: true, tokens: true } as const;
    return parseArgs({ ...options, allowPositionals: false });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : "unreadable options");
  }
}

function text(name: string, value: string | undefined, wanted: string): string | undefined {
  if (value === "") throw new UsageError(`--${name}: got nothing, wanted ${wanted}`);
  return value;
}

function whole(name: string, value: string | undefined, max: number): number | undefined {
  if (value === undefined) return undefined;
  const number = /^[0-9]{1,6}$/.test(value) ? Number(value) : Infinity;
  if (number > max)
    throw new UsageError(`--${name}: got "${value}", wanted a whole number from 0 to ${max}`);
  return number;
}

function engine(value: string | undefined): string | null {
  if (value === undefined) return null;
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url === undefined || !["http:", "https:"].includes(url.protocol))
    throw new UsageError(`--engine: got "${value}", wanted a URL such as http://127.0.0.1:11434`);
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "")
    throw new UsageError("--engine: wanted a URL without credentials, query and fragment");
  return value;
}
