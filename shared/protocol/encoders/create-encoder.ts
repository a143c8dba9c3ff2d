import { invariant } from "../../errors/invariant.ts";
import type { TurnEncoder } from "../encoder.ts";
import type { Rendering } from "../internal/turn-request.ts";
import { createChatEncoder } from "./chat.ts";
import { createCompletionsEncoder } from "./completions.ts";
import { createResponsesEncoder } from "./responses.ts";

/** The encoder of a turn's protocol; `choices` is `n`. @throws InvariantError for embeddings, which are no stream. */
export function createEncoder(rendering: Rendering, choices: number): TurnEncoder {
  invariant(rendering.api !== "embeddings", "embeddings are answered whole");
  if (rendering.api === "chat") return createChatEncoder(rendering, choices);
  if (rendering.api === "completions") return createCompletionsEncoder(rendering, choices);
  return createResponsesEncoder(rendering);
}
