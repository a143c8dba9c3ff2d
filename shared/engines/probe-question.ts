import type { JsonObject } from "../protocol/json.ts";

/** The questions of a probe. */
export type QuestionId =
  | "models"
  | "version"
  | "metrics"
  | "stream"
  | "bareStream"
  | "saltRefused"
  | "saltTaken"
  | "priorityRefused"
  | "priorityTaken"
  | "tokenIds"
  | "tokenPrompt"
  | "continued"
  | "closed";

/** One call to an engine. `version` and `metrics` stand at its root, the rest below its API's base URL. */
export interface Question {
  readonly id: QuestionId;
  readonly path: "models" | "version" | "metrics" | "chat/completions" | "completions";
  /** Null: it is a GET. */
  readonly body: JsonObject | null;
  /** Asks for the load header. */
  readonly wantsLoad: boolean;
}

/** Most tokens that one question has generated. */
const tokensMax = 2;
/** Fixed words: nothing of a tenant is in a probe. */
const prompt = { role: "user", content: "Count from one to twenty in words." };
const begun = { role: "assistant", content: "One, two, three," };
/** The salt of the question whether a salt is taken; no tenant has it, theirs are 64 hex digits. */
const probeSalt = "meridian-ability-probe";
/** No string and no whole number: an engine that knows the field refuses it, one that ignores the field does not see it. */
const wrongType: JsonObject = {};

/** The call that asks `id`. `promptTokenIds`: those that the engine itself has named. */
export function questionOf(
  id: QuestionId,
  engineModel: string,
  hasStreamUsage: boolean,
  promptTokenIds: readonly number[],
): Question {
  const chat = (more: JsonObject, messages: readonly JsonObject[] = [prompt]): Question => ({
    id,
    path: "chat/completions",
    body: { model: engineModel, messages, max_tokens: tokensMax, temperature: 0, ...more },
    wantsLoad: id === "stream" || id === "bareStream",
  });
  const get = (path: Question["path"]): Question => ({ id, path, body: null, wantsLoad: false });
  const usage: JsonObject = { stream_options: { include_usage: true } };
  switch (id) {
    case "models":
    case "version":
    case "metrics":
      return get(id);
    case "stream":
      return chat({ stream: true, ...usage });
    case "bareStream":
      return chat({ stream: true });
    case "saltRefused":
      return chat({ cache_salt: wrongType });
    case "saltTaken":
      return chat({ cache_salt: probeSalt });
    case "priorityRefused":
      return chat({ priority: wrongType });
    case "priorityTaken":
      // Not 0: that is what vLLM takes for no priority at all, with or without priority scheduling.
      return chat({ priority: 1 });
    case "tokenIds":
      return chat({ stream: true, return_token_ids: true, ...(hasStreamUsage ? usage : {}) });
    case "tokenPrompt":
      return {
        id,
        path: "completions",
        body: {
          model: engineModel,
          prompt: promptTokenIds,
          max_tokens: tokensMax,
          temperature: 0,
        },
        wantsLoad: false,
      };
    case "continued":
      return chat({ continue_final_message: true, add_generation_prompt: false }, [prompt, begun]);
    case "closed":
      return chat({ add_generation_prompt: false }, [prompt, begun]);
  }
}
