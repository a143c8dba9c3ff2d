import type { Context, Hono } from "hono";
import * as z from "zod";
import type { KnownAbilities } from "#shared/config/engine-abilities.ts";
import type { JurisdictionDescription, ShardDescription } from "#shared/config/topology.ts";
import { GatewayError } from "#shared/errors/gateway-error.ts";
import { drainMsMax } from "#shared/protocol/internal/shard-admin.ts";
import type { ShardAdminState, ShardCommand } from "#shared/protocol/internal/shard-admin.ts";
import type { CellAdminAnswer, EdgeDeps } from "../ports.ts";
import type { EdgeEnvironment } from "../request-facts.ts";
import { hasBody, readAdminBody } from "./admin-body.ts";
import { mount } from "./route.ts";

const path = "/admin/v1/shards";

/**
 * How long turns may stay on a drained shard when the operator does not say, seconds: nearly every answer is whole by
 * then, and what is not goes on at another shard.
 */
const drainSecondsDefault = 120;
/** When to ask again a cell that does not answer, ms. */
const cellRetryAfterMs = 2_000;

const drainSchema = z.strictObject({
  deadlineSeconds: z
    .int()
    .min(0)
    .max(drainMsMax / 1000)
    .optional(),
});
const undrainSchema = z.strictObject({});

/** A shard and where it is. */
interface FoundShard {
  readonly own: JurisdictionDescription;
  readonly shard: ShardDescription;
}

/** The jurisdictions that the request may speak of: the hostname's; in development, at a plain loopback name, all. */
export function visibleJurisdictions(
  deps: EdgeDeps,
  c: Context<EdgeEnvironment>,
): readonly JurisdictionDescription[] {
  const { jurisdiction } = c.var;
  return jurisdiction === undefined ? [...deps.topology.jurisdictions.values()] : [jurisdiction];
}

/** @throws GatewayError `not_found`, the same for a shard of another jurisdiction as for none. */
function findShard(deps: EdgeDeps, c: Context<EdgeEnvironment>, id: string): FoundShard {
  for (const own of visibleJurisdictions(deps, c)) {
    const shard = own.shards.find((one) => one.id === id);
    if (shard !== undefined) return { own, shard };
  }
  throw new GatewayError("not_found", "The shard was not found.");
}

function bodyOf({ id, deadlineMs, ...state }: ShardAdminState) {
  return {
    id,
    object: "shard",
    cell: id.slice(0, id.indexOf("/")),
    model: state.model,
    state: state.state,
    in_flight: state.inFlight,
    breaker: state.breaker,
    weight: state.weight ?? null,
    ...lifeOf(state.life),
    drain_deadline: deadlineMs === null ? null : Math.ceil(deadlineMs / 1000),
    engine: state.engine === undefined ? null : engineOf(state.engine),
  };
}

function lifeOf(life: ShardAdminState["life"]) {
  const { lifecycle = null, readyInMs = null, reason = null } = life ?? {};
  return {
    lifecycle,
    lifecycle_reason: reason,
    ready_in_seconds: readyInMs === null ? null : Math.ceil(readyInMs / 1000),
  };
}

function engineOf({ abilities, source }: KnownAbilities) {
  return {
    source,
    token_ids: abilities.tokenIds,
    continue_final_message: abilities.continueFinalMessage,
    cache_salt: abilities.cacheSalt,
    priority: abilities.priority,
    load_header: abilities.loadHeader,
    usage_in_stream: abilities.usageInStream,
    metrics: abilities.metrics,
  };
}

function unknownBody({ id, cell, model }: ShardDescription) {
  return {
    id,
    object: "shard",
    cell,
    model,
    state: "unknown",
    in_flight: null,
    breaker: null,
    weight: null,
    ...lifeOf(undefined),
    drain_deadline: null,
    engine: null,
  };
}

/** All shards with their states; those of a cell that does not answer are `unknown`. */
async function list(deps: EdgeDeps, c: Context<EdgeEnvironment>): Promise<Response> {
  const data = await Promise.all(
    visibleJurisdictions(deps, c).flatMap((own) =>
      own.cells.map(async (cell) => {
        const answer = await deps.cellAdmin.shards(cell);
        if (answer.kind === "shards") return answer.shards.map(bodyOf);
        return own.shards.filter((shard) => shard.cell === cell.id).map(unknownBody);
      }),
    ),
  );
  return c.json({ object: "list", data: data.flat() });
}

async function send(
  deps: EdgeDeps,
  c: Context<EdgeEnvironment>,
  { own, shard }: FoundShard,
  command: ShardCommand,
): Promise<Response> {
  c.set("jurisdiction", own);
  const cell = own.cells.find(({ id }) => id === shard.cell);
  const answer: CellAdminAnswer =
    cell === undefined
      ? { kind: "unreachable", reason: "noCell" }
      : await deps.cellAdmin.command(cell, command);
  if (answer.kind === "unreachable") {
    deps.log("warn", "cellAdminFailed", { cell: shard.cell, reason: answer.reason });
    throw new GatewayError("starting", "The shard's cell does not answer. Nothing was changed.", {
      retryAfterMs: cellRetryAfterMs,
    });
  }
  deps.log("info", "shardCommanded", {
    requestId: c.var.requestId,
    cell: shard.cell,
    shard: shard.id,
    reason: command.kind,
  });
  const state = answer.shards.find(({ id }) => id === shard.id);
  return c.json(state === undefined ? unknownBody(shard) : bodyOf(state));
}

async function drain(deps: EdgeDeps, c: Context<EdgeEnvironment>, id: string): Promise<Response> {
  const found = findShard(deps, c, id);
  const { deadlineSeconds = drainSecondsDefault } = hasBody(c.req.raw)
    ? await readAdminBody(
        c,
        drainSchema,
        `{"deadlineSeconds": <0 to ${drainMsMax / 1000}>}, or none`,
      )
    : {};
  const deadlineMs = deadlineSeconds * 1000;
  return send(deps, c, found, { kind: "drain", shard: id, deadlineMs });
}

async function undrain(deps: EdgeDeps, c: Context<EdgeEnvironment>, id: string): Promise<Response> {
  const found = findShard(deps, c, id);
  if (hasBody(c.req.raw)) await readAdminBody(c, undrainSchema, "{}, or none");
  return send(deps, c, found, { kind: "undrain", shard: id });
}

/** The shard's id between the path and its last segment, with its slash as it is or percent-encoded. */
function shardIdOf(c: Context<EdgeEnvironment>, verb: string): string {
  const { pathname } = new URL(c.req.url);
  const encoded = pathname.slice(path.length + 1, -(verb.length + 1));
  try {
    return decodeURIComponent(encoded);
  } catch {
    throw new GatewayError("not_found", "The shard was not found.");
  }
}

/** `GET /admin/v1/shards`, `POST /admin/v1/shards/{id}/drain` and `/undrain`. */
export function addAdminShards(app: Hono<EdgeEnvironment>, deps: EdgeDeps): void {
  mount(app, path, { GET: { run: (c) => list(deps, c) } });
  // An id has one slash: `<cell>/<name>`. Encoded it is one segment, else two.
  for (const id of [":shard", ":cell/:name"]) {
    mount(app, `${path}/${id}/drain`, {
      POST: { run: (c) => drain(deps, c, shardIdOf(c, "drain")) },
    });
    mount(app, `${path}/${id}/undrain`, {
      POST: { run: (c) => undrain(deps, c, shardIdOf(c, "undrain")) },
    });
  }
}
