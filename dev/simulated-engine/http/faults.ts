/** Faults that the control endpoint injects into requests; what each does is in the README. */
import * as z from "zod";
import type { Lie } from "./told-counters.ts";

/** Every fault there is. */
const faultKinds = [
  "refuse",
  "delay",
  "stall",
  "cut",
  "error-chunk",
  "garbage",
  "html",
  "never-ends",
  "slow",
  "wrong",
  "status-429",
  "status-500",
  "status-503",
  "clean-end",
  "no-done",
  "bad-json",
  "split-utf8",
  "wrong-content-type",
  "crash",
  "cold",
  "redirect",
  "huge-line",
  "repeat-chunk",
  "double-done",
  "wrong-model",
  "lie",
] as const;

export type FaultKind = (typeof faultKinds)[number];

const faultSpec = z.strictObject({
  kind: z.enum(faultKinds),
  /** Tokens that are delivered properly before it strikes. */
  afterTokens: z.int().min(0).optional(),
  /** Requests that it hits; without limit when absent. */
  count: z.int().min(1).optional(),
  delayMs: z.number().min(0).max(3_600_000).optional(),
  /** Sent as it is, so that nonsense can be tested too. */
  retryAfterSeconds: z.union([z.number(), z.string()]).optional(),
  probability: z.number().min(0).max(1).optional(),
  /** `slow`: how many times slower. */
  factor: z.number().min(1).max(10_000).optional(),
  /** `all` also hits /health, /v1/models, /metrics, …; by default only prompts are hit. */
  scope: z.enum(["generation", "all"]).optional(),
  /** `lie`: what is told of the load. */
  says: z.enum(["idle", "full"]).optional(),
});

export type FaultSpec = z.infer<typeof faultSpec>;

interface ActiveFault {
  readonly id: number;
  readonly spec: FaultSpec;
  /** Requests it will still hit; null is without limit. */
  remaining: number | null;
  hits: number;
}

/** At most this many faults at once. */
const faultsMax = 100;

/** Reads a fault; the text says path, got and wanted. */
export function parseFault(
  value: unknown,
): { ok: true; spec: FaultSpec } | { ok: false; message: string } {
  const parsed = faultSpec.safeParse(value);
  if (parsed.success) return { ok: true, spec: parsed.data };
  const issue = parsed.error.issues[0];
  if (issue === undefined) return { ok: false, message: "body: not a fault" };
  if (issue.code === "unrecognized_keys")
    return {
      ok: false,
      message: `${issue.keys.join(", ")}: got an unknown field, wanted one of ${Object.keys(faultSpec.shape).join(", ")}`,
    };
  const path = issue.path.length === 0 ? "body" : issue.path.join(".");
  let got: unknown = value;
  for (const key of issue.path)
    got = typeof got === "object" && got !== null ? Reflect.get(got, key) : undefined;
  const wanted = path === "kind" ? `one of ${faultKinds.join(", ")}` : issue.message;
  return {
    ok: false,
    message: `${path}: got ${JSON.stringify(got) ?? "nothing"}, wanted ${wanted}`,
  };
}

export interface FaultBook {
  list(): readonly ActiveFault[];
  /** False when there are too many already. */
  add(spec: FaultSpec): ActiveFault | undefined;
  clear(): void;
  /** The fault that hits this request, if any: the oldest that applies. One fault per request. */
  take(isGeneration: boolean): FaultSpec | undefined;
  /** What the oldest fault `lie` makes the engine say of its load now; undefined without one. */
  takeLie(): Lie | undefined;
}

/** Makes a book without faults; `random` is uniform on [0, 1) and decides `probability`. */
export function createFaultBook(random: () => number): FaultBook {
  let faults: ActiveFault[] = [];
  let nextId = 0;
  return {
    list: () => faults,
    add(spec) {
      if (faults.length >= faultsMax) return undefined;
      nextId += 1;
      const fault = { id: nextId, spec, remaining: spec.count ?? null, hits: 0 };
      faults.push(fault);
      return fault;
    },
    clear() {
      faults = [];
    },
    take(isGeneration) {
      for (const fault of faults) {
        const { spec } = fault;
        if (spec.kind === "cold" || spec.kind === "lie") continue;
        if (!isGeneration && spec.scope !== "all") continue;
        if (spec.probability !== undefined && random() >= spec.probability) continue;
        fault.hits += 1;
        if (fault.remaining !== null) {
          fault.remaining -= 1;
          if (fault.remaining === 0) faults = faults.filter((other) => other !== fault);
        }
        return spec;
      }
      return undefined;
    },
    takeLie() {
      const fault = faults.find(({ spec }) => spec.kind === "lie");
      if (fault === undefined) return undefined;
      fault.hits += 1;
      return fault.spec.says ?? "idle";
    },
  };
}
