import * as z from "zod";
import { unsupported } from "./chat-message.ts";
import { functionName, jsonSchema, namedSchema } from "./chat-tools.ts";
import { common, decimal, integer, sampling, toolsMax } from "./parameters.ts";

const functionTool = z.looseObject({
  type: z.literal("function"),
  name: functionName,
  description: z.string().nullish(),
  parameters: jsonSchema.nullish(),
  strict: z.boolean().nullish(),
});

/** A tool of any other type runs on OpenAI's servers, or on none that this gateway has. */
const otherTool = z.looseObject({ type: z.string() }).superRefine((tool, context) => {
  if (tool.type === "function") return;
  context.addIssue({
    code: "custom",
    message: "Only 'function' tools are served; hosted tools (web_search, file_search, …) are not.",
    params: { isUnsupported: true },
    path: ["type"],
  });
});

const toolChoice = z.union([
  z.enum(["none", "auto", "required"]),
  z.discriminatedUnion(
    "type",
    [
      z.looseObject({ type: z.literal("function"), name: functionName }),
      z.looseObject({
        type: z.literal("allowed_tools"),
        mode: z.enum(["auto", "required"]),
        tools: z.array(z.looseObject({ type: z.literal("function"), name: functionName })),
      }),
    ],
    { error: "one of 'function', 'allowed_tools'" },
  ),
]);

const textFormat = z.discriminatedUnion(
  "type",
  [
    z.looseObject({ type: z.literal("text") }),
    z.looseObject({ type: z.literal("json_object") }),
    z.looseObject({ type: z.literal("json_schema"), ...namedSchema }),
  ],
  { error: "one of 'text', 'json_object', 'json_schema'" },
);

/** The tools once it is known that all are functions. */
export const functionTools = z.array(functionTool).max(toolsMax);
/** The tools' types, read first so that a hosted tool is refused by its type and not by a field that it lacks. */
export const toolTypes = z.array(otherTool);

/** `POST /v1/responses`, without `input` and `tools`. */
export const responsesFields = z.looseObject({
  ...common,
  ...sampling,
  stream_options: z.looseObject({ include_obfuscation: z.boolean().nullish() }).nullish(),
  instructions: z.string().nullish(),
  previous_response_id: z.string().min(1).max(200).nullish(),
  conversation: z
    .union([z.string().min(1).max(200), z.looseObject({ id: z.string().min(1).max(200) })])
    .nullish(),
  background: z.boolean().nullish(),
  truncation: z.enum(["auto", "disabled"]).nullish(),
  max_output_tokens: integer(1).nullish(),
  max_tool_calls: integer(1).nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  top_logprobs: integer(0, 20).nullish(),
  temperature: decimal(0, 2).nullish(),
  top_p: decimal(0, 1).nullish(),
  tool_choice: toolChoice.nullish(),
  text: z
    .looseObject({ format: textFormat.nullish(), verbosity: z.string().max(32).nullish() })
    .nullish(),
  reasoning: z
    .looseObject({
      effort: z.string().min(1).max(32).nullish(),
      summary: z.string().max(32).nullish(),
      generate_summary: z.string().max(32).nullish(),
    })
    .nullish(),
  include: z
    .array(
      z.enum([
        "file_search_call.results",
        "web_search_call.results",
        "web_search_call.action.sources",
        "message.input_image.image_url",
        "computer_call_output.output.image_url",
        "code_interpreter_call.outputs",
        "reasoning.encrypted_content",
        "message.output_text.logprobs",
      ]),
    )
    .nullish(),
  prompt: unsupported("Stored prompts are not served; send 'instructions' and 'input'."),
  context_management: unsupported("Compaction is not served; use 'truncation': 'auto'."),
});

/** Checked fields of a response request. */
export type ResponsesFields = z.output<typeof responsesFields>;
/** Checked function tools. */
export type FunctionTools = z.output<typeof functionTools>;
