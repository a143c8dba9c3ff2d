import stripJsonComments from "strip-json-comments";
import * as z from "zod";
import { parseTopology } from "#shared/config/topology.ts";
import type { Topology, TopologyProblem } from "#shared/config/topology.ts";
import { logLevels } from "#shared/telemetry/log-record.ts";
import type { LogLevel } from "#shared/telemetry/log-record.ts";

const hex64 = z.string().regex(/^[0-9a-f]{64}$/, "64 lower-case hex digits");

/** A JSON text of the given shape. */
function jsonText<Schema extends z.ZodType>(schema: Schema) {
  return z
    .string()
    .transform((text, context): unknown => {
      try {
        return JSON.parse(text);
      } catch {
        context.addIssue({ code: "custom", message: "JSON" });
        return z.NEVER;
      }
    })
    .pipe(schema);
}

const bindingsSchema = z.looseObject({
  DO_JURISDICTION: z.enum(["enforce", "emulate"]),
  ENVIRONMENT: z.enum(["development", "production"]).default("production"),
  LOG_LEVEL: z.enum(logLevels).default("info"),
  /** Set by `npm run dev`: the proxy of `wrangler dev` does not survive a body that stays unread. */
  DEV_PROXY: z.enum(["wrangler", "none"]).default("none"),
  TOPOLOGY: z.string().optional(),
  IDENTIFIER_KEY: hex64,
  CELL_SIGNING_KEYS: jsonText(
    z.strictObject({
      current: z.string().min(1).max(32),
      keys: z
        .record(z.string().regex(/^[a-z0-9-]{1,32}$/), hex64)
        .refine((keys) => Object.keys(keys).length <= 2, "at most 2 keys"),
    }),
  ).refine(({ current, keys }) => Object.hasOwn(keys, current), "a current key that is among keys"),
  RECEIPT_SIGNING_KEY: jsonText(
    z.looseObject({
      kty: z.literal("OKP"),
      crv: z.literal("Ed25519"),
      kid: z.string().min(1).max(128),
      x: z.string(),
      d: z.string(),
    }),
  ),
  HEALTH_KV_URL: z.string().regex(/^https?:\/\//, "an http or https URL"),
  HEALTH_KV_TOKEN: z.string().min(1),
  HEALTH_MAC_KEY: hex64,
});

/** Everything that the edge is configured with, checked; frozen. */
export interface EdgeConfig {
  readonly topology: Topology;
  readonly objectMode: "enforce" | "emulate";
  readonly environment: "development" | "production";
  readonly logLevel: LogLevel;
  readonly isBehindDevProxy: boolean;
  readonly identifierKeyHex: string;
  readonly cellSigningKeys: {
    readonly current: string;
    readonly keys: Readonly<Record<string, string>>;
  };
  /** A private Ed25519 JWK with its kid. */
  readonly receiptSigningKey: Readonly<Record<string, unknown>> & {
    readonly kty: "OKP";
    readonly crv: "Ed25519";
    readonly kid: string;
    readonly x: string;
    readonly d: string;
  };
  readonly health: { readonly url: string; readonly token: string; readonly macKeyHex: string };
  /** Hex digests of keys by the variable's name, for every `env:NAME` among the topology's keys. */
  readonly keyDigests: ReadonlyMap<string, string>;
}

/** A configuration, or every problem that was found; values of bindings are never repeated, they may be secrets. */
export type EdgeConfigResult =
  | { readonly ok: true; readonly config: EdgeConfig }
  | { readonly ok: false; readonly problems: readonly TopologyProblem[] };

function describeGot(value: unknown): string {
  if (value === undefined) return "nothing";
  return typeof value === "string" ? `a text of ${value.length} characters` : typeof value;
}

function readTopology(text: string): EdgeConfigResult | { readonly topology: Topology } {
  let value: unknown;
  try {
    value = JSON.parse(stripJsonComments(text, { trailingCommas: true }));
  } catch {
    return {
      ok: false,
      problems: [{ path: "TOPOLOGY", got: "invalid text", wanted: "JSON with comments" }],
    };
  }
  const result = parseTopology(value);
  return result.ok ? { topology: result.topology } : { ok: false, problems: result.problems };
}

function isLocal(hostname: string): boolean {
  return hostname.endsWith(".localhost");
}

/** Settings that are for one machine only are refused where the topology has a hostname of the real world. */
function deploymentProblems(
  topology: Topology,
  settings: Readonly<Record<string, string>>,
): TopologyProblem[] {
  const foreign = [...topology.jurisdictionByHostname.keys()].find((name) => !isLocal(name));
  if (foreign === undefined) return [];
  return [
    { path: "DO_JURISDICTION", refused: "emulate", wanted: "enforce" },
    { path: "ENVIRONMENT", refused: "development", wanted: "production" },
  ]
    .filter(({ path, refused }) => settings[path] === refused)
    .map(({ path, refused, wanted }) => ({
      path,
      got: refused,
      wanted: `${wanted}, since the topology has the hostname ${foreign}`,
    }));
}

function readKeyDigests(
  topology: Topology,
  bindings: Readonly<Record<string, unknown>>,
): { digests: Map<string, string>; problems: TopologyProblem[] } {
  const digests = new Map<string, string>();
  const problems: TopologyProblem[] = [];
  const keys = [...topology.tenants.values()].flatMap((tenant) =>
    tenant.keys.flatMap(({ digests: ofKey }) => ofKey),
  );
  for (const key of [...keys, ...topology.adminKeys]) {
    if (!key.startsWith("env:")) continue;
    const name = key.slice("env:".length);
    const digest = hex64.safeParse(bindings[name]);
    if (digest.success) digests.set(name, digest.data);
    else problems.push({ path: name, got: describeGot(bindings[name]), wanted: "64 hex digits" });
  }
  return { digests, problems };
}

/** Checks the Worker's bindings and the topology text (the binding TOPOLOGY wins over the compiled file). */
export function parseEdgeConfig(bindings: unknown, compiledTopology: string): EdgeConfigResult {
  const parsed = bindingsSchema.safeParse(bindings);
  if (!parsed.success) {
    const given = bindings as Readonly<Record<string, unknown>>;
    const problems = parsed.error.issues.map((issue) => ({
      path: issue.path.map(String).join("."),
      got: describeGot(given[String(issue.path[0])]),
      wanted: issue.message,
    }));
    return { ok: false, problems };
  }
  const { data } = parsed;
  const read = readTopology(data.TOPOLOGY ?? compiledTopology);
  if (!("topology" in read)) return read;
  const { topology } = read;
  const { digests, problems } = readKeyDigests(topology, data);
  const all = [
    ...problems,
    ...deploymentProblems(topology, {
      DO_JURISDICTION: data.DO_JURISDICTION,
      ENVIRONMENT: data.ENVIRONMENT,
    }),
  ];
  if (all.length > 0) return { ok: false, problems: all };
  return {
    ok: true,
    config: Object.freeze({
      topology,
      objectMode: data.DO_JURISDICTION,
      environment: data.ENVIRONMENT,
      logLevel: data.LOG_LEVEL,
      isBehindDevProxy: data.DEV_PROXY === "wrangler",
      identifierKeyHex: data.IDENTIFIER_KEY,
      cellSigningKeys: data.CELL_SIGNING_KEYS,
      receiptSigningKey: data.RECEIPT_SIGNING_KEY,
      health: {
        url: data.HEALTH_KV_URL,
        token: data.HEALTH_KV_TOKEN,
        macKeyHex: data.HEALTH_MAC_KEY,
      },
      keyDigests: digests,
    }),
  };
}
