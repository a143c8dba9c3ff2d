import * as z from "zod";
import { toolsMax } from "./parameters.ts";

/** Names of functions (OpenAI API reference). */
export const functionName = z
  .string()
  .regex(/^[a-zA-Z0-9_-]{1,64}$/, "1 to 64 letters, digits, dashes or underscores");

/** A JSON schema; what it says is the engine's business. */
export const jsonSchema = z.record(z.string(), z.unknown());

const chatFunction = z.looseObject({
  name: functionName,
  description: z.string().nullish(),
  parameters: jsonSchema.nullish(),
  strict: z.boolean().nullish(),
});

/** `tools` of chat completions. */
export const chatTools = z
  .array(
    z.discriminatedUnion(
      "type",
      [
        z.looseObject({ type: z.literal("function"), function: chatFunction }),
        z.looseObject({
          type: z.literal("custom"),
          custom: z.looseObject({ name: functionName, description: z.string().nullish() }),
        }),
      ],
      { error: "one of 'function', 'custom'" },
    ),
  )
  .max(toolsMax);

/** `functions`, the older form of `tools`. */
export const chatFunctions = z.array(chatFunction).min(1).max(toolsMax);

/** `tool_choice` of chat completions. */
export const chatToolChoice = z.union([
  z.enum(["none", "auto", "required"]),
  z.discriminatedUnion(
    "type",
    [
      z.looseObject({
        type: z.literal("function"),
        function: z.looseObject({ name: functionName }),
      }),
      z.looseObject({ type: z.literal("custom"), custom: z.looseObject({ name: functionName }) }),
      z.looseObject({
        type: z.literal("allowed_tools"),
        allowed_tools: z.looseObject({
          mode: z.enum(["auto", "required"]),
          tools: z.array(z.looseObject({})).max(toolsMax),
        }),
      }),
    ],
    { error: "one of 'function', 'custom', 'allowed_tools'" },
  ),
]);

/** The body of a `json_schema` format, in chat and in responses. */
export const namedSchema = {
  name: functionName,
  description: z.string().nullish(),
  schema: jsonSchema.nullish(),
  strict: z.boolean().nullish(),
};

/** `response_format` of chat completions. */
export const responseFormat = z.discriminatedUnion(
  "type",
  [
    z.looseObject({ type: z.literal("text") }),
    z.looseObject({ type: z.literal("json_object") }),
    z.looseObject({ type: z.literal("json_schema"), json_schema: z.looseObject(namedSchema) }),
  ],
  { error: "one of 'text', 'json_object', 'json_schema'" },
);
