/** Request bodies as vLLM takes them: what is known is checked, unknown fields pass. */
import * as z from "zod";
import { tokenIdMax } from "../text/tokenizer.ts";

const nullish = <T extends z.ZodType>(type: T) => type.nullish();
const count = z
  .int()
  .min(0)
  .max(2 ** 31);

const part = z.union([
  z.looseObject({ type: z.enum(["text", "input_text"]), text: z.string() }),
  z.looseObject({ type: z.literal("refusal"), refusal: z.string() }),
  z.looseObject({
    type: z.literal("image_url"),
    image_url: z.union([
      z.string(),
      z.looseObject({ url: z.string(), detail: z.string().optional() }),
    ]),
  }),
]);

const message = z.looseObject({
  role: z.enum(["system", "developer", "user", "assistant", "tool", "function"]),
  content: nullish(z.union([z.string(), z.array(part)])),
  name: z.string().optional(),
  tool_call_id: z.string().optional(),
  tool_calls: nullish(
    z.array(
      z.looseObject({ function: z.looseObject({ name: z.string(), arguments: z.string() }) }),
    ),
  ),
});

const responseFormat = z.discriminatedUnion("type", [
  z.looseObject({ type: z.literal("text") }),
  z.looseObject({ type: z.literal("json_object") }),
  z.looseObject({
    type: z.literal("json_schema"),
    json_schema: z.looseObject({ name: z.string().optional(), schema: z.unknown().optional() }),
  }),
]);

/** Fields that chat and text completions share. */
const generation = {
  model: nullish(z.string()),
  stream: nullish(z.boolean()),
  stream_options: nullish(
    z.looseObject({
      include_usage: nullish(z.boolean()),
      continuous_usage_stats: nullish(z.boolean()),
    }),
  ),
  n: nullish(z.int().min(1).max(128)),
  max_tokens: nullish(count),
  min_tokens: nullish(count),
  stop: nullish(z.union([z.string(), z.array(z.string()).max(64)])),
  stop_token_ids: nullish(z.array(count)),
  include_stop_str_in_output: nullish(z.boolean()),
  ignore_eos: nullish(z.boolean()),
  seed: nullish(z.int()),
  temperature: nullish(z.number().min(0)),
  top_p: nullish(z.number().gt(0).max(1)),
  presence_penalty: nullish(z.number().min(-2).max(2)),
  frequency_penalty: nullish(z.number().min(-2).max(2)),
  cache_salt: nullish(z.string().min(1).max(1_024)),
  priority: nullish(z.int()),
  return_token_ids: nullish(z.boolean()),
  request_id: nullish(z.string()),
  response_format: nullish(responseFormat),
  user: nullish(z.string()),
};

export const chatRequest = z.looseObject({
  ...generation,
  messages: z.array(message).min(1),
  max_completion_tokens: nullish(count),
  logprobs: nullish(z.boolean()),
  top_logprobs: nullish(z.int().min(0).max(20)),
  tools: nullish(
    z.array(
      z.looseObject({
        type: z.literal("function"),
        function: z.looseObject({ name: z.string().min(1), parameters: z.unknown().optional() }),
      }),
    ),
  ),
  tool_choice: nullish(
    z.union([
      z.enum(["none", "auto", "required"]),
      z.looseObject({ type: z.literal("function"), function: z.looseObject({ name: z.string() }) }),
    ]),
  ),
  parallel_tool_calls: nullish(z.boolean()),
  continue_final_message: nullish(z.boolean()),
  add_generation_prompt: nullish(z.boolean()),
});

const tokenList = z.array(z.int().min(0).max(tokenIdMax)).min(1);
const inputs = z.union([
  z.string(),
  z.array(z.string()).min(1).max(2_048),
  tokenList,
  z.array(tokenList).min(1).max(2_048),
]);

export const completionRequest = z.looseObject({
  ...generation,
  prompt: inputs,
  echo: nullish(z.boolean()),
  logprobs: nullish(z.int().min(0).max(20)),
});

export const embeddingRequest = z.looseObject({
  model: nullish(z.string()),
  input: inputs,
  encoding_format: nullish(z.enum(["float", "base64"])),
  dimensions: nullish(z.int().min(1).max(4_096)),
  user: nullish(z.string()),
});

export type ChatRequest = z.infer<typeof chatRequest>;
type CompletionRequest = z.infer<typeof completionRequest>;
export type GenerationRequest = Pick<CompletionRequest, keyof typeof generation>;

/** Where, what came and what was wanted, of the first problem. */
export function describeIssue(error: z.ZodError): string {
  const issue = error.issues[0];
  if (issue === undefined) return "the value is not valid";
  const path = issue.path.length === 0 ? "body" : issue.path.join(".");
  return `${path}: ${issue.message}`;
}
