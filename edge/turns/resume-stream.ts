import type { ConversationScope } from "#shared/conversation/rpc.ts";
import { GatewayError } from "#shared/errors/gateway-error.ts";
import type { EdgeDeps } from "../ports.ts";
import type { RequestFacts } from "../request-facts.ts";
import { answerHeaders, refuse, streamContentType } from "./lane-answer.ts";
import type { LaneAnswer } from "./lane-answer.ts";
import { throwRefusal } from "./prepared-turn.ts";
import { hopsOf } from "./replay-turn.ts";
import { streamIdOf } from "./turn-ids.ts";
import { openTurnStream } from "./turn-stream.ts";

/** Where a reader goes on, and the name of what said so. */
export interface ReaderPosition {
  readonly afterSeq: number;
  readonly param: string;
}

/** A position as a client writes it: a whole number of at most 15 digits. @throws GatewayError naming `param`. */
export function readPosition(text: string, param: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new GatewayError("invalid_request", `${param} must be a whole number, 0 or more.`, {
    param,
  });
}

/**
 * Answers a reader who comes back to a turn's stream: everything after its position, then live. A turn that failed before its
 * first event is answered by its error; one that ended later by its events, an error event included.
 * @throws GatewayError `not_found` for a turn whose events are not kept (any more); `invalid_request` for one that was not
 *   streamed, and for a position that its stream never had.
 */
export async function resumeStream(
  deps: EdgeDeps,
  facts: RequestFacts,
  place: { readonly scope: ConversationScope; readonly turnRandom: string },
  position: ReaderPosition,
): Promise<LaneAnswer> {
  const { scope, turnRandom } = place;
  const object = deps.openConversation(scope);
  const { afterSeq, param } = position;
  const read = await object.readJournal({ scope, turnRandom, afterSeq });
  if (read.kind === "refused") throwRefusal(read.error);
  const { turn, toSeq } = read.value;
  const hops = hopsOf(facts, turn);
  if (!turn.rendering.stream) {
    throw new GatewayError(
      "invalid_request",
      "This answer was not streamed: it has no events.",
      param === "starting_after" ? { param: "stream" } : {},
    );
  }
  if (turn.state !== "running" && toSeq === 0 && turn.error !== null) {
    return refuse(turn.error, hops);
  }
  if (turn.state !== "running" && afterSeq > toSeq && turn.restartedAfterSeq === null) {
    throw new GatewayError("invalid_request", `The stream has no event ${param} ${afterSeq}.`, {
      param,
    });
  }
  const streamId = await streamIdOf(deps.identifiers, facts, scope.conversationRandom, turnRandom);
  const headers = answerHeaders({
    contentType: streamContentType,
    shard: turn.shard,
    conversationId: scope.conversationId,
    streamId,
  });
  const stream = openTurnStream(deps, facts, { turn, scope, object }, afterSeq);
  return { response: new Response(stream, { headers }), hops };
}
