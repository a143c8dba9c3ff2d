import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { Miniflare } from "miniflare";
import type { Request as OutgoingRequest } from "miniflare";
import type { EgressRecord } from "./findings.ts";
import type { RecordedSystem } from "./recorded-system.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** The modules of the edge's Worker, the entry first. */
export type EdgeBundle = readonly {
  readonly type: "ESModule" | "Text";
  readonly path: string;
  readonly contents: string;
}[];

/** Builds the edge as it would be deployed. @throws Error with wrangler's complaint. */
export function buildEdge(): EdgeBundle {
  const out = mkdtempSync(join(tmpdir(), "meridian-bundle-"));
  const built = spawnSync(
    process.execPath,
    ["node_modules/wrangler/bin/wrangler.js", "deploy", "--dry-run", "--env=", "--outdir", out],
    {
      cwd: root,
      encoding: "utf8",
      env: {
        ...process.env,
        WRANGLER_SEND_METRICS: "false",
        WRANGLER_SEND_ERROR_REPORTS: "false",
        WRANGLER_LOG_PATH: join(out, "logs"),
      },
    },
  );
  if (built.status !== 0) throw new Error(built.stderr);
  return readdirSync(out)
    .filter((file) => /\.(?:js|jsonc)$/.test(file))
    .toSorted((file) => (file.endsWith(".js") ? -1 : 1))
    .map((file) => ({
      type: file.endsWith(".js") ? ("ESModule" as const) : ("Text" as const),
      path: file,
      contents: readFileSync(join(out, file), "utf8"),
    }));
}

/** What a client was answered. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

/** A request of a client. */
export interface ClientCall {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** Announces a long body and sends its first byte only. */
  readonly isEndless?: boolean;
}

/** A Worker that serves the traffic of one jurisdiction, with a recorder on its every way out and on its logs. */
export interface RecordedEdge {
  readonly jurisdiction: string;
  readonly egress: readonly EgressRecord[];
  /** Heads of all the answers it gave. */
  readonly answerHeads: readonly string[];
  /** What the runtime wrote to standard output and standard error; the console of a Worker ends there. */
  logText(): string;
  send(call: ClientCall): Promise<Answer>;
  stop(): Promise<void>;
}

/**
 * Starts `bundle` for clients of `jurisdiction` alone, so that all that leaves it, background work included, belongs to
 * that jurisdiction. Egress is passed on to parts of the system; anything else is recorded and goes nowhere.
 */
export async function startRecordedEdge(
  bundle: EdgeBundle,
  system: RecordedSystem,
  jurisdiction: string,
): Promise<RecordedEdge> {
  const egress: EgressRecord[] = [];
  const answerHeads: string[] = [];
  let log = "";
  const reachable = new Set(
    Object.values(system.territories).flatMap((own) => [...own.cellOrigins, own.healthKv.origin]),
  );

  async function passOn(outgoing: OutgoingRequest): Promise<Response> {
    const body = await outgoing.clone().text();
    const { origin, pathname, search } = new URL(outgoing.url);
    const headers = [...outgoing.headers];
    egress.push({
      jurisdiction,
      origin,
      method: outgoing.method,
      path: `${pathname}${search}`,
      headers: headers.map((pair) => pair.join(": ")).join("\n"),
      body,
    });
    if (!reachable.has(origin)) return new Response("recorded", { status: 599 });
    const answer = await fetch(outgoing.url, {
      method: outgoing.method,
      headers: headers.filter(([name]) => name !== "host" && name !== "content-length"),
      ...(body === "" ? {} : { body }),
      redirect: "manual",
    });
    return new Response(answer.body, { status: answer.status, headers: answer.headers });
  }

  const edge = new Miniflare({
    cf: false,
    handleRuntimeStdio(stdout: Readable, stderr: Readable) {
      for (const stream of [stdout, stderr]) {
        stream.setEncoding("utf8");
        stream.on("data", (piece: string) => {
          log += piece;
        });
      }
    },
    workers: [
      {
        name: "edge",
        modules: bundle.map((module) => ({ ...module })),
        compatibilityDate: "2026-07-01",
        compatibilityFlags: ["enable_request_signal"],
        bindings: { ...system.bindings, DEV_PROXY: "none", DO_JURISDICTION: "emulate" },
        durableObjects: {
          CONVERSATION: { className: "Conversation", useSQLite: true },
          TENANT_LEDGER: { className: "TenantLedger", useSQLite: true },
        },
        // Two classes called Response: Node's does what Miniflare reads of its own.
        outboundService: async (outgoing: OutgoingRequest) => (await passOn(outgoing)) as never,
      },
    ],
  });
  const { hostname, port } = await edge.ready;

  function send(call: ClientCall): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const outgoing = request(
        {
          host: hostname,
          port,
          method: call.method,
          path: call.path,
          headers: {
            host: `${jurisdiction}.localhost`,
            authorization: `Bearer ${system.keys[jurisdiction] ?? ""}`,
            "content-type": "application/json",
            ...call.headers,
          },
        },
        (incoming) => {
          const { headers } = incoming;
          answerHeads.push(JSON.stringify(headers));
          let text = "";
          incoming.setEncoding("utf8");
          incoming.on("data", (piece: string) => {
            text += piece;
          });
          incoming.on("end", () => resolve({ status: incoming.statusCode ?? 0, headers, text }));
          incoming.on("error", reject);
        },
      );
      // An answer to a body that never ends is complete when its own body is; rejecting then changes nothing.
      outgoing.on("error", reject);
      if (call.isEndless === true) {
        outgoing.setHeader("content-length", "1000000");
        outgoing.write("{");
        return;
      }
      outgoing.end(call.body === undefined ? undefined : JSON.stringify(call.body));
    });
  }

  return {
    jurisdiction,
    egress,
    answerHeads,
    logText: () => log,
    send,
    stop: () => edge.dispose(),
  };
}
