import type { EdgeDeps } from "../ports.ts";
import type { RequestFacts } from "../request-facts.ts";
import { answerHeaders } from "./lane-answer.ts";
import type { LaneAnswer } from "./lane-answer.ts";
import { replayTurn } from "./replay-turn.ts";
import type { Replay } from "./replay-turn.ts";
import { responseText } from "./response-text.ts";
import { streamIdOf } from "./turn-ids.ts";

/**
 * Answers with a turn that its object runs: as a stream of what it generates, which may end any time without an effect on the
 * turn, else at once with its state. A repeat under the same key gets the state of then.
 */
export async function answerBackground(
  deps: EdgeDeps,
  facts: RequestFacts,
  replay: Replay,
): Promise<LaneAnswer> {
  const { turn, scope, rateLimit } = replay;
  if (turn.rendering.stream) return replayTurn(deps, facts, replay);
  const { conversationRandom, conversationId } = scope;
  const cell = facts.jurisdiction.cells.find(({ id }) => id === turn.cell) ?? null;
  const headers = answerHeaders({
    contentType: "application/json",
    shard: turn.shard,
    conversationId,
    streamId: await streamIdOf(deps.identifiers, facts, conversationRandom, turn.turnRandom),
    rateLimit,
  });
  return {
    response: new Response(responseText(turn), { headers }),
    hops: { hasObject: true, cell, shard: turn.shard, rejected: [] },
  };
}
