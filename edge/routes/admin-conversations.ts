import type { Context, Hono } from "hono";
import * as z from "zod";
import type { JurisdictionDescription } from "#shared/config/topology.ts";
import type { HomeView, MoveDestination, MoveView } from "#shared/conversation/move-state.ts";
import type { ConversationResult, ConversationScope } from "#shared/conversation/rpc.ts";
import { GatewayError } from "#shared/errors/gateway-error.ts";
import type { CellId, RegionId } from "#shared/residency/brands.ts";
import { asConversationId, openIdentifier } from "#shared/residency/identifiers.ts";
import type { EdgeDeps } from "../ports.ts";
import type { EdgeEnvironment } from "../request-facts.ts";
import { noHops } from "../request-facts.ts";
import { throwRefusal } from "../turns/prepared-turn.ts";
import { readAdminBody } from "./admin-body.ts";
import { visibleJurisdictions } from "./admin-shards.ts";
import { mount } from "./route.ts";

const path = "/admin/v1/conversations/:id/migrate";

const name = z.string().min(1).max(128);
const wantedBody =
  'one of {"shard": "<cell>/<name>"}, {"cell": "<cell>"} and {"region": "<region>"}';
const bodySchema = z.union([
  z.strictObject({ shard: name }),
  z.strictObject({ cell: name }),
  z.strictObject({ region: name }),
]);
type Target = z.infer<typeof bodySchema>;

interface FoundConversation {
  readonly own: JurisdictionDescription;
  readonly scope: ConversationScope;
}

/**
 * The conversation that an id names, whoever's it is: ids do not name their tenant, so each of the jurisdiction is tried.
 * @throws GatewayError `not_found`, the same for a forged id, one of another jurisdiction and one of nobody.
 */
async function findConversation(
  deps: EdgeDeps,
  c: Context<EdgeEnvironment>,
): Promise<FoundConversation> {
  const id = c.req.param("id") ?? "";
  const jurisdictions = visibleJurisdictions(deps, c);
  for (const tenant of deps.topology.tenants.values()) {
    const own = jurisdictions.find((one) => one.id === tenant.jurisdiction);
    if (own === undefined) continue;
    const identity = { tenant: tenant.id, jurisdiction: own.id };
    const parts = await openIdentifier(deps.identifiers, identity, id, ["conv"]);
    if (parts === null || parts.turnRandom !== "") continue;
    const { conversationRandom } = parts;
    const { requestId, traceparent } = c.var;
    const conversationId = asConversationId(id);
    return {
      own,
      scope: { ...identity, conversationId, conversationRandom, requestId, traceparent },
    };
  }
  throw new GatewayError("not_found", "The conversation was not found.");
}

/**
 * Where the operator wants it, as far as the jurisdiction has it: what lies outside cannot be named.
 * @throws GatewayError `not_found`, the same for a place of another jurisdiction as for none.
 */
function destinationsOf(own: JurisdictionDescription, target: Target): readonly MoveDestination[] {
  const modelsOf = (cell: CellId): readonly string[] => [
    ...new Set(own.shards.filter((shard) => shard.cell === cell).map(({ model }) => model)),
  ];
  if ("shard" in target) {
    const shard = own.shards.find(({ id }) => id === target.shard);
    const cell = own.cells.find(({ id }) => id === shard?.cell);
    if (shard !== undefined && cell !== undefined) {
      return [{ cell: cell.id, region: cell.region, shard: shard.id, models: [shard.model] }];
    }
  } else {
    const cells = own.cells.filter((cell) =>
      "cell" in target ? cell.id === target.cell : cell.region === target.region,
    );
    if (cells.length > 0) {
      return cells.map(({ id, region }) => ({
        cell: id,
        region,
        shard: null,
        models: modelsOf(id),
      }));
    }
  }
  throw new GatewayError("not_found", "The destination was not found.", {
    param: Object.keys(target)[0] ?? "body",
  });
}

function moveBody(move: MoveView) {
  const seconds = (ms: number): number => Math.floor(ms / 1000);
  return {
    id: move.moveId,
    state: move.step,
    from: { cell: move.fromCell, shard: move.fromShard },
    to: { cell: move.toCell, shard: move.toShard },
    copies_history: move.copiesHistory,
    items: move.items,
    copied_items: move.copiedItems,
    prewarm:
      move.prewarm === null
        ? null
        : {
            prompt_tokens: move.prewarm.promptTokens,
            cached_tokens: move.prewarm.cachedTokens,
          },
    old_copy: move.oldCopy,
    reason: move.reason,
    started_at: seconds(move.startedAtMs),
    ended_at: move.endedAtMs === null ? null : seconds(move.endedAtMs),
  };
}

function respond(
  c: Context<EdgeEnvironment>,
  { own, scope }: FoundConversation,
  result: ConversationResult<HomeView>,
): Response {
  c.set("jurisdiction", own);
  c.set("hops", { ...noHops, hasObject: true });
  if (result.kind === "refused") throwRefusal(result.error);
  const { historyCell, homeCell, homeShard, move } = result.value;
  return c.json({
    id: scope.conversationId,
    object: "conversation.home",
    cell: homeCell,
    shard: homeShard,
    history_region: own.cells.find(({ id }) => id === historyCell)?.region ?? null,
    move: move === null ? null : moveBody(move),
  });
}

async function migrate(deps: EdgeDeps, c: Context<EdgeEnvironment>): Promise<Response> {
  const found = await findConversation(deps, c);
  const { own, scope } = found;
  const destinations = destinationsOf(own, await readAdminBody(c, bodySchema, wantedBody));
  const regions: Record<string, RegionId> = {};
  for (const { id, region } of own.cells) regions[id] = region;
  deps.log("info", "moveAsked", {
    requestId: scope.requestId,
    tenant: scope.tenant,
    cell: destinations[0]?.cell ?? "",
  });
  const moveId = scope.requestId;
  const object = deps.openConversation(scope);
  return respond(c, found, await object.migrate({ scope, moveId, destinations, regions }));
}

async function readMove(deps: EdgeDeps, c: Context<EdgeEnvironment>): Promise<Response> {
  const found = await findConversation(deps, c);
  return respond(c, found, await deps.openConversation(found.scope).readHome(found.scope));
}

/** `POST /admin/v1/conversations/{id}/migrate` begins a move or joins it; `GET` shows home and move. */
export function addAdminConversations(app: Hono<EdgeEnvironment>, deps: EdgeDeps): void {
  mount(app, path, {
    GET: { run: (c) => readMove(deps, c) },
    POST: { run: (c) => migrate(deps, c) },
  });
}
