import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import worker from "#edge/index.ts";
import { testKeys } from "#test/support/edge-keys.ts";

/** A call to the edge as a client makes it. */
export interface EdgeCall {
  readonly method?: string;
  readonly host?: string;
  /** Null: no credential. */
  readonly key?: string | null;
  readonly headers?: Readonly<Record<string, string>>;
  /** JSON unless it is a text, bytes or a stream. */
  readonly body?: unknown;
  /** What the platform knows of the client. */
  readonly cf?: Readonly<Record<string, unknown>>;
}

function bodyOf(body: unknown): BodyInit | undefined {
  if (body === undefined || typeof body === "string") return body;
  if (body instanceof ReadableStream || body instanceof Uint8Array) return body;
  return JSON.stringify(body);
}

/** Calls the Worker and reads the whole answer; background work is waited for. */
export async function call(path: string, options: EdgeCall = {}) {
  const { host = "eu.localhost", key = testKeys.acme, headers = {}, body } = options;
  const sent = bodyOf(body);
  const request = new Request(`http://${host}${path}`, {
    method: options.method ?? (sent === undefined ? "GET" : "POST"),
    headers: {
      ...(key === null ? {} : { authorization: `Bearer ${key}` }),
      ...(sent === undefined ? {} : { "content-type": "application/json" }),
      ...headers,
    },
    ...(sent === undefined ? {} : { body: sent }),
    ...(options.cf === undefined ? {} : { cf: options.cf }),
  } as RequestInit);
  const context = createExecutionContext();
  const response = await worker.fetch(request as never, env, context);
  const text = await response.text();
  await waitOnExecutionContext(context);
  return {
    status: response.status,
    headers: response.headers,
    text,
    json: (): Record<string, unknown> => JSON.parse(text) as Record<string, unknown>,
    error: (): { code: string; param: string | null; message: string } =>
      (JSON.parse(text) as { error: { code: string; param: string | null; message: string } })
        .error,
  };
}
