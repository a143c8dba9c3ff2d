import * as z from "zod";
import type { JsonObject } from "../json.ts";
import { affinityCharactersMax } from "./chat-message.ts";
import { engineFields } from "./engine-body.ts";
import type { CompletionsRequest, ParseResult } from "./generation-request.ts";
import { choicesPerPromptMax, common, integer, sampling } from "./parameters.ts";
import { refuseAt, refuseMissing, refuseTooMany } from "./refusals.ts";
import { checkStreamOptions, commonParts } from "./request-rules.ts";
import { readWith } from "./schema-refusal.ts";
import { measurePrompts } from "./token-lists.ts";

/** Choices of one request: prompts × n. OpenAI's own maximum of `n`, and what a turn's outcome holds. */
const choicesMax = 128;

const schema = z.looseObject({
  ...common,
  ...sampling,
  n: integer(1, choicesPerPromptMax).nullish(),
  best_of: integer(1, 20).nullish(),
  max_tokens: integer(0).nullish(),
  logprobs: integer(0, 5).nullish(),
  echo: z.boolean().nullish(),
  suffix: z.string().nullish(),
});

/** `POST /v1/completions`: one prompt or many, as text or token ids. */
export function parseCompletionsRequest(body: JsonObject): ParseResult<CompletionsRequest> {
  const { prompt, ...rest } = body;
  const read = readWith(schema, rest, []);
  if (!read.ok) return read;
  const fields = read.value;
  if (prompt === undefined || prompt === null) return refuseMissing(["prompt"]);
  const measured = measurePrompts(prompt, "prompt", choicesMax);
  if (!measured.ok) return measured;
  const streamOptions = checkStreamOptions(fields);
  if (streamOptions !== null) return streamOptions;
  const perPrompt = fields.n ?? 1;
  if ((fields.best_of ?? perPrompt) !== perPrompt) {
    return refuseAt(
      ["best_of"],
      "'best_of' must be equal to 'n': candidates are not generated and thrown away here.",
    );
  }
  const choices = measured.value.count * perPrompt;
  if (choices > choicesMax) return refuseTooMany(["prompt"], choicesMax, "prompts times 'n'");
  const request: CompletionsRequest = {
    ...commonParts(fields, false),
    choices,
    completionTokensMax:
      typeof fields.max_tokens === "number" ? Math.max(1, fields.max_tokens) : null,
    capabilities: ["completions"],
    engineBody: engineFields(body, ["best_of"]),
    promptTokensEstimate: measured.value.tokensEstimate,
    affinityText: measured.value.firstText.slice(0, affinityCharactersMax),
    hasImages: false,
  };
  return { ok: true, request };
}
