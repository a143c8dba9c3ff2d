import type { TurnView } from "#shared/conversation/rpc.ts";
import { errorBody } from "#shared/errors/gateway-error.ts";

function statusOf({ state, isQueued }: TurnView): string {
  if (state !== "running") return state;
  return isQueued ? "queued" : "in_progress";
}

/** A stored response as JSON text: the answer, or in OpenAI's shape what there is of it before, and without, one. */
export function responseText(turn: TurnView): string {
  if (turn.body !== null) return turn.body;
  const { rendering, error } = turn;
  const isFailed = error !== null && turn.state !== "cancelled";
  return JSON.stringify({
    id: turn.publicId,
    object: "response",
    created_at: rendering.createdAtSeconds,
    status: statusOf(turn),
    error: isFailed ? { code: error.code, message: errorBody(error).error.message } : null,
    incomplete_details: null,
    ...rendering.echo,
    model: rendering.model,
    output: [],
    usage: null,
  });
}
