import type { CellDescription } from "#shared/config/topology.ts";
import { composeEngineBody, composeTurnRequest } from "#shared/conversation/compose-turn.ts";
import type { EngineBodyResult } from "#shared/conversation/compose-turn.ts";
import type {
  BeginTurnResult,
  ConversationRpc,
  ConversationScope,
  IdempotencyClaim,
  TurnLease,
  TurnTemplate,
} from "#shared/conversation/rpc.ts";
import type { ItemRecord } from "#shared/protocol/internal/turn-outcome.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import type { JsonObject } from "#shared/protocol/json.ts";
import type { MintItemId } from "#shared/protocol/openai/items.ts";
import type { EdgeDeps } from "../ports.ts";
import type { RequestFacts } from "../request-facts.ts";
import type { PreparedTurn } from "./prepared-turn.ts";
import { engineRequest } from "./stateless-lane.ts";
import { conversationScope, mintTurnIds } from "./turn-ids.ts";
import type { TurnIds } from "./turn-ids.ts";

/** Where a durable turn belongs and what it adds. */
export interface TurnPlace {
  readonly conversationRandom: string;
  /** `create` makes the conversation when it does not exist. */
  readonly mode: "create" | "existing";
  readonly parentTurnRandom: string | null;
  readonly idempotency: IdempotencyClaim | null;
  readonly isStored: boolean;
  /** Whether the object runs the turn without this Worker. */
  readonly isBackground?: boolean;
  /** The items that this request adds, with ids of the turn. */
  readonly newItems: (mintItemId: MintItemId) => readonly ItemRecord[];
  /** Random part of the conversation that a fork begins; an idempotent repeat must name the same one. */
  readonly forkRandom: string;
}

/** A turn on the durable lane, ready to be begun. */
export interface DurableTurn {
  readonly ids: TurnIds;
  readonly scope: ConversationScope;
  readonly object: ConversationRpc;
  readonly template: TurnTemplate;
  readonly cells: readonly CellDescription[];
}

/** Puts together what the object keeps of a turn. */
export async function composeTurn(
  deps: EdgeDeps,
  facts: RequestFacts,
  prepared: PreparedTurn,
  conversationRandom: string,
): Promise<DurableTurn> {
  const { api, generation } = prepared;
  const ids = await mintTurnIds(deps.identifiers, facts, api, conversationRandom);
  const { cells } = deps.rankCells(
    {
      jurisdiction: facts.jurisdiction.id,
      model: prepared.model.id,
      priority: facts.priority,
      affinityKey: prepared.affinityKey,
      homeCell: null,
      position: facts.position,
    },
    facts.waitUntil,
  );
  const scope = conversationScope(facts, ids.conversationId, conversationRandom);
  return {
    ids,
    scope,
    object: deps.openConversation(scope),
    cells,
    template: {
      engine: engineRequest(prepared, generation.engineBody),
      rendering: {
        api,
        stream: generation.stream,
        includeUsage: generation.includeUsage,
        publicId: ids.publicId,
        createdAtSeconds: Math.floor(facts.startedAtMs / 1000),
        model: generation.model,
        itemIdStem: ids.itemIdStem,
        echo: prepared.echo,
      },
      priority: facts.priority,
      affinityKey: prepared.affinityKey,
    },
  };
}

/** Opens the turn in its object. */
export function beginTurn(
  facts: RequestFacts,
  turn: DurableTurn,
  place: TurnPlace,
  seedItems: readonly ItemRecord[],
  newItems: readonly ItemRecord[],
  reservationId: string | null,
): Promise<BeginTurnResult> {
  return turn.object.beginTurn({
    scope: turn.scope,
    turnId: turn.ids.turnId,
    turnRandom: turn.ids.turnRandom,
    idempotency: place.idempotency,
    mode: place.mode,
    parentTurnRandom: place.parentTurnRandom,
    seedItems,
    newItems,
    template: turn.template,
    isStored: place.isStored,
    streamsKeptMs: facts.tenant.streamsKeptMs,
    isBackground: place.isBackground ?? false,
    reservationId,
    deadlineMs: facts.deadlineMs,
    cells: turn.cells.map(({ id }) => id),
  });
}

/** The engine's body of a prepared turn for a history, as the object would compose it. */
export function engineBodyOf(
  prepared: PreparedTurn,
  items: readonly ItemRecord[],
): EngineBodyResult {
  const { api, echo, generation, model } = prepared;
  const engine = engineRequest(prepared, generation.engineBody);
  return composeEngineBody({ engine, rendering: { api, echo } }, items, model);
}

/** The request for the cell that a lease names. */
export function leasedRequest(
  facts: RequestFacts,
  turn: DurableTurn,
  lease: TurnLease,
  engine: { readonly body: JsonObject; readonly promptTokensEstimate: number },
): TurnRequest {
  const owner = { ...turn.scope, requestId: facts.requestId };
  return composeTurnRequest(turn.template, lease, owner, engine);
}
