import * as z from "zod";
import type { JsonObject } from "../json.ts";
import { affinityCharactersMax } from "./chat-message.ts";
import { engineFields } from "./engine-body.ts";
import type { EmbeddingsRequest, ParseResult } from "./generation-request.ts";
import { common, integer } from "./parameters.ts";
import { refuseMissing, refuseUnsupported, refuseValue } from "./refusals.ts";
import { commonParts } from "./request-rules.ts";
import { readWith } from "./schema-refusal.ts";
import { measurePrompts } from "./token-lists.ts";

/** Inputs of one request (OpenAI API reference: arrays of 2,048 dimensions or less). */
const embeddingInputsMax = 2048;

const schema = z.looseObject({
  ...common,
  dimensions: integer(1, 65_536).nullish(),
  encoding_format: z.enum(["float", "base64"]).nullish(),
});

/** `POST /v1/embeddings`: one input or many, as text or token ids; an empty text is refused, as by OpenAI. */
export function parseEmbeddingsRequest(body: JsonObject): ParseResult<EmbeddingsRequest> {
  const { input, ...rest } = body;
  const read = readWith(schema, rest, []);
  if (!read.ok) return read;
  if (read.value.stream === true) {
    return refuseUnsupported(["stream"], "Embeddings are not streamed.");
  }
  if (input === undefined || input === null) return refuseMissing(["input"]);
  const measured = measurePrompts(input, "input", embeddingInputsMax);
  if (!measured.ok) return measured;
  if (input === "") return refuseValue(["input"], "a text that is not empty");
  const empty = Array.isArray(input) ? input.indexOf("") : -1;
  if (empty !== -1) return refuseValue(["input", empty], "a text that is not empty");
  const request: EmbeddingsRequest = {
    ...commonParts(read.value, false),
    isStored: false,
    choices: 1,
    completionTokensMax: null,
    capabilities: ["embeddings"],
    engineBody: engineFields(body, []),
    promptTokensEstimate: measured.value.tokensEstimate,
    affinityText: measured.value.firstText.slice(0, affinityCharactersMax),
    hasImages: false,
  };
  return { ok: true, request };
}
