import type { TurnView } from "#shared/conversation/rpc.ts";
import { invariant } from "#shared/errors/invariant.ts";
import type { EdgeDeps } from "../ports.ts";
import type { Hops, RequestFacts } from "../request-facts.ts";
import { answerHeaders, refuse, streamContentType } from "./lane-answer.ts";
import type { LaneAnswer } from "./lane-answer.ts";
import { throwRefusal } from "./prepared-turn.ts";
import { streamIdOf } from "./turn-ids.ts";
import { openTurnStream } from "./turn-stream.ts";
import type { TurnPosition } from "./turn-stream.ts";

/** Pause between looks at a turn that another Worker is completing, ms. */
const pollMs = 100;
/** A turn that failed without saying why. */
const interrupted = {
  code: "interrupted",
  message: "The turn did not end. Send the prompt again.",
} as const;

/** A stream that was kept as long as its tenant's are. */
const gone = {
  code: "not_found",
  message: "The stream of this Idempotency-Key is not kept any more. Use a new key.",
  param: "Idempotency-Key",
} as const;

/** A turn that exists already, and where it lives. */
export interface Replay extends TurnPosition {
  readonly rateLimit: Readonly<Record<string, string>>;
}

/** Waits until the turn has ended. @throws GatewayError when it is gone or the deadline passes. */
async function awaitEnd(deps: EdgeDeps, facts: RequestFacts, replay: Replay): Promise<TurnView> {
  const { object, scope, turn } = replay;
  for (;;) {
    // The journal is found for every turn, the answer only for stored ones.
    const read = await object.readJournal({
      scope,
      turnRandom: turn.turnRandom,
      afterSeq: Number.MAX_SAFE_INTEGER,
    });
    if (read.kind === "refused") throwRefusal(read.error);
    if (read.value.turn.state !== "running") return read.value.turn;
    if (deps.now() >= facts.deadlineMs) {
      throwRefusal({
        code: "deadline_exceeded",
        message: "The turn still runs. Send the request again with the same key to wait for it.",
      });
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

/** Whether the events of an ended turn can still be read. */
async function isKept({ object, scope, turn }: Replay): Promise<boolean> {
  const { turnRandom } = turn;
  const read = await object.readJournal({ scope, turnRandom, afterSeq: 0 });
  return read.kind === "ok";
}

/** Where a turn was handled, for the receipt. */
export function hopsOf(facts: RequestFacts, turn: TurnView): Hops {
  const cell = facts.jurisdiction.cells.find(({ id }) => id === turn.cell) ?? null;
  return { hasObject: true, cell, shard: turn.shard, rejected: [] };
}

/**
 * Answers with a turn that exists: the stored answer byte for byte, the running one from its start, the failed one by its
 * error. Nothing is generated and nothing is billed again.
 */
export async function replayTurn(
  deps: EdgeDeps,
  facts: RequestFacts,
  replay: Replay,
): Promise<LaneAnswer> {
  const { turn, scope } = replay;
  const { conversationRandom, conversationId } = scope;
  const hops = hopsOf(facts, turn);
  if (turn.state === "failed" || turn.state === "cancelled") {
    return refuse(turn.error ?? interrupted, hops, replay.rateLimit);
  }
  const streamId = await streamIdOf(deps.identifiers, facts, conversationRandom, turn.turnRandom);
  const common = { conversationId, streamId, rateLimit: replay.rateLimit };
  if (turn.rendering.stream) {
    if (turn.state !== "running" && !(await isKept(replay)))
      return refuse(gone, hops, replay.rateLimit);
    const headers = answerHeaders({ contentType: streamContentType, shard: turn.shard, ...common });
    return { response: new Response(openTurnStream(deps, facts, replay, 0), { headers }), hops };
  }
  const ended = turn.state === "running" ? await awaitEnd(deps, facts, replay) : turn;
  const known = hopsOf(facts, ended);
  if (ended.state === "failed" || ended.state === "cancelled") {
    return refuse(ended.error ?? interrupted, known, replay.rateLimit);
  }
  invariant(ended.body !== null, "a turn that ended well has a body");
  const headers = answerHeaders({ contentType: "application/json", shard: ended.shard, ...common });
  return { response: new Response(ended.body, { headers }), hops: known };
}
