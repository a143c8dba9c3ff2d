import type { Secrets } from "./secrets.ts";
import type { TopologyFile } from "./topology-file.ts";

/** The edge's bindings in development, as the text of an env file for wrangler. */
export function edgeBindings(options: {
  readonly topology: TopologyFile;
  readonly secrets: Secrets;
  readonly healthUrl: string;
  /** Digests of keys, by variable. */
  readonly digests: Readonly<Record<string, string>>;
  readonly logLevel: string;
}): string {
  const { topology, secrets } = options;
  const bindings: Record<string, string> = {
    ...options.digests,
    DO_JURISDICTION: "emulate",
    ENVIRONMENT: isLocal(topology) ? "development" : "production",
    TOPOLOGY: JSON.stringify(topology),
    IDENTIFIER_KEY: secrets.identifierKey,
    CELL_SIGNING_KEYS: signingKeys(secrets),
    RECEIPT_SIGNING_KEY: JSON.stringify(secrets.receiptSigningKey),
    HEALTH_KV_URL: options.healthUrl,
    HEALTH_KV_TOKEN: secrets.healthReadOnlyToken,
    HEALTH_MAC_KEY: secrets.healthMacKey,
    LOG_LEVEL: options.logLevel,
    DEV_PROXY: "wrangler",
  };
  return Object.entries(bindings)
    .map(([name, value]) => `${name}='${escapeValue(value)}'\n`)
    .join("");
}

/** The keys that sign calls from the edge to the cells, as both sides get them. */
export function signingKeys({ cellSigningKey }: Secrets): string {
  return JSON.stringify({ current: "dev", keys: { dev: cellSigningKey } });
}

function isLocal(topology: TopologyFile): boolean {
  return Object.values(topology.jurisdictions)
    .flatMap(({ hostnames }) => hostnames)
    .every((hostname) => hostname.endsWith(".localhost"));
}

/**
 * wrangler expands `$NAME` in an env file even between single quotes (4.116), and a single quote ends the value. Both can
 * stand inside JSON texts only, where an escape says the same.
 */
function escapeValue(value: string): string {
  return value.replaceAll("$", "\\u0024").replaceAll("'", "\\u0027");
}
