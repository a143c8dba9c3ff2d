import type { TenantKey } from "#shared/config/limits.ts";
import type {
  CellDescription,
  JurisdictionDescription,
  Priority,
  TenantDescription,
} from "#shared/config/topology.ts";
import { invariant } from "#shared/errors/invariant.ts";
import type { RejectedCandidate } from "#shared/protocol/internal/turn-outcome.ts";
import type { Position } from "#shared/routing/near-cells.ts";

/** What is known of a request once it is authenticated; every route gets it, none can change it. */
export interface RequestFacts {
  readonly requestId: string;
  readonly traceparent: string;
  readonly jurisdiction: JurisdictionDescription;
  readonly tenant: TenantDescription;
  /** The tenant's key that the request came with, as its requests are counted. */
  readonly key: TenantKey;
  readonly priority: Priority;
  readonly startedAtMs: number;
  /** Absolute, ms since the epoch. */
  readonly deadlineMs: number;
  /** The data centre that runs this, where the platform says so. */
  readonly colo: string | null;
  /** Of the client, where the platform knows it. */
  readonly position: Position | null;
  readonly signal: AbortSignal;
  /** Keeps the Worker for work that must go on after the answer; at most 30 s after the client went. */
  readonly waitUntil: (work: Promise<unknown>) => void;
}

/** Where a request was handled, for its receipt. */
export interface Hops {
  readonly hasObject: boolean;
  readonly cell: CellDescription | null;
  readonly shard: string | null;
  readonly rejected: readonly RejectedCandidate[];
}

/** Handled by the Worker alone. */
export const noHops: Hops = { hasObject: false, cell: null, shard: null, rejected: [] };

/** Variables of a request in Hono's context; what is optional is not known from the start. */
export interface EdgeVariables {
  requestId: string;
  traceparent: string;
  startedAtMs: number;
  jurisdiction?: JurisdictionDescription | undefined;
  /** The host that the client addressed. */
  hostname?: string;
  /** Set by `authenticate`; routes read it through {@link factsOf}. */
  facts?: RequestFacts;
  hops?: Hops;
  /** The route's pattern, for logs. */
  route?: string;
  errorCode?: string;
  /** The `Allow` header of a 405. */
  allow?: string;
}

/** Hono's environment of this app: no bindings, on purpose. */
export interface EdgeEnvironment {
  Variables: EdgeVariables;
}

/** The facts of an authenticated request. @throws InvariantError where `authenticate` did not run: default deny. */
export function factsOf(c: { readonly var: EdgeVariables }): RequestFacts {
  const { facts } = c.var;
  invariant(facts !== undefined, "the route is behind authentication");
  return facts;
}
