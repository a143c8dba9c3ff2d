/** Checks that several routes share. */
import type { IncomingMessage } from "node:http";
import type * as z from "zod";
import type { EngineContext } from "../context.ts";
import { EngineError } from "./errors.ts";
import { describeIssue } from "./requests.ts";

/** Parses a body. @throws EngineError 400 that names the field. */
export function parseRequest<T>(schema: z.ZodType<T>, body: unknown): T {
  const parsed = schema.safeParse(body);
  if (!parsed.success) throw new EngineError(400, describeIssue(parsed.error));
  return parsed.data;
}

/** Refuses other models than the served one; none means the served one, as in vLLM. @throws EngineError 404. */
export function createModelCheck(
  context: EngineContext,
): (model: string | null | undefined) => void {
  return (model) => {
    if (typeof model === "string" && model !== context.options.model)
      throw new EngineError(404, `The model \`${model}\` does not exist.`);
  };
}

/** vLLM's load report, on request (PR 24905). */
export function loadHeaders(
  context: EngineContext,
  request: IncomingMessage,
): Record<string, string> {
  const format = request.headers["endpoint-load-metrics-format"];
  if (typeof format !== "string" || context.options.without.includes("loadHeader")) return {};
  const { kvUsage, waiting } = context.told();
  if (format.toUpperCase() !== "TEXT") return {};
  return {
    "endpoint-load-metrics": `TEXT named_metrics.kv_cache_usage_perc=${kvUsage.toFixed(6)}, named_metrics.num_requests_waiting=${waiting.toFixed(1)}`,
  };
}
