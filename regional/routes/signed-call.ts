import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import { respondError } from "./respond.ts";
import type { CellDeps } from "./cell-deps.ts";

/** Largest body of an internal call, bytes: 20 MiB of a multimodal prompt and its frame. */
export const internalBodyBytesMax = 25 * 1024 * 1024;

/** A call that is proven to come from the edge, or the answer to one that is not. */
export type SignedCallResult =
  | { readonly ok: true; readonly body: Uint8Array }
  | { readonly ok: false; readonly response: Response };

/**
 * Reads a call's body and proves its signature. Every failed proof is answered alike and without a hint; the reason is
 * logged.
 */
export async function openSignedCall(context: Context, deps: CellDeps): Promise<SignedCallResult> {
  const request = context.req.raw;
  const body = await readBody(request);
  if (body === "tooLarge") {
    return refuse({ code: "body_too_large", message: "The call's body is too large." });
  }
  if (body === "broken") {
    return refuse({ code: "invalid_request", message: "The call's body broke off." });
  }
  const path = request.url.slice(request.url.indexOf("/", request.url.indexOf("//") + 2));
  const proof = deps.verifier.verify(headerOf(context), request.method, path, body);
  if (proof.ok) return { ok: true, body };
  deps.log("warn", "call_refused", { reason: proof.reason, method: request.method });
  return refuse({ code: "invalid_api_key", message: "The call is not signed for this cell." });
}

/** Reads a call's headers where the server has them: the web's object of them is made, each checked, when it is first asked. */
export function headerOf({ env, req }: Context): (name: string) => string | null | undefined {
  const { incoming } = (env ?? {}) as Partial<HttpBindings>;
  if (incoming === undefined) return (name) => req.raw.headers.get(name);
  return (name) => {
    const value = incoming.headers[name];
    return typeof value === "string" ? value : null;
  };
}

/** How many headers a call has. */
export function headerCount({ env, req }: Context): number {
  const { incoming } = (env ?? {}) as Partial<HttpBindings>;
  return incoming === undefined
    ? [...req.raw.headers.keys()].length
    : incoming.rawHeaders.length / 2;
}

function refuse(error: Parameters<typeof respondError>[0]): SignedCallResult {
  return { ok: false, response: respondError(error) };
}

async function readBody(request: Request): Promise<Uint8Array | "tooLarge" | "broken"> {
  const declared = request.headers.get("content-length");
  if (declared !== null && Number(declared) > internalBodyBytesMax) return "tooLarge";
  // A length that was announced is enforced by the server, so that the body is read without a stream of the web's kind.
  if (declared !== null) {
    try {
      return new Uint8Array(await request.arrayBuffer());
    } catch {
      return "broken";
    }
  }
  if (request.body === null) return new Uint8Array();
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const chunk of request.body) {
      bytes += chunk.byteLength;
      if (bytes > internalBodyBytesMax) return "tooLarge";
      chunks.push(chunk);
    }
  } catch {
    return "broken";
  }
  return Buffer.concat(chunks, bytes);
}

/** Without `stream` it keeps nothing between two bodies. */
const strictDecoder = new TextDecoder("utf-8", { fatal: true });

/** The JSON in `body`, or undefined when it is none. */
export function readJson(body: Uint8Array): unknown {
  try {
    return JSON.parse(strictDecoder.decode(body)) as unknown;
  } catch {
    return undefined;
  }
}
