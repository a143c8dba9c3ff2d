import type { Context } from "hono";
import type * as z from "zod";
import { GatewayError } from "#shared/errors/gateway-error.ts";
import { parseJsonBody } from "#shared/protocol/openai/parse-json-body.ts";
import { readBody } from "../middleware/body-limit.ts";
import type { EdgeEnvironment } from "../request-facts.ts";
import { throwRefusal } from "../turns/prepared-turn.ts";

/** Whether the caller sent one: where all of it is optional, clients send none, and then no content type. */
export function hasBody(request: Request): boolean {
  return request.headers.has("content-type") || request.body !== null;
}

/**
 * The body of an operator's call; `wanted` says what it must be.
 * @throws GatewayError 400 naming the place, for a field that is wrong or unknown.
 */
export async function readAdminBody<Schema extends z.ZodType>(
  c: Context<EdgeEnvironment>,
  schema: Schema,
  wanted: string,
): Promise<z.output<Schema>> {
  const json = parseJsonBody((await readBody(c.req.raw)).text);
  if (!json.ok) throwRefusal(json.error);
  const parsed = schema.safeParse(json.value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const unknown = issue?.code === "unrecognized_keys" ? issue.keys[0] : undefined;
  const param = unknown ?? issue?.path.map(String).join(".") ?? "";
  throw new GatewayError("invalid_request", `The body must be ${wanted}.`, {
    ...(param === "" ? {} : { param }),
  });
}
