import type { MiddlewareHandler } from "hono";
import type { EdgeDeps } from "../ports.ts";
import type { EdgeEnvironment } from "../request-facts.ts";

/** Bytes that are spent on a body nobody wants, and how long a pause in it is waited for, ms. */
const drainedBytesMax = 64 * 1024 * 1024;
const pauseMsMax = 100;

async function drain(body: ReadableStream<Uint8Array>): Promise<void> {
  const reader = body.getReader();
  let bytes = 0;
  try {
    while (bytes < drainedBytesMax) {
      let timer: ReturnType<typeof setTimeout> | null = null;
      const pause = new Promise<null>((resolve) => {
        timer = setTimeout(() => resolve(null), pauseMsMax);
      });
      const read = await Promise.race([reader.read(), pause]);
      clearTimeout(timer);
      if (read === null || read.done) return;
      bytes += read.value.length;
    }
  } catch {
    // The client went.
  }
}

/**
 * Behind `wrangler dev`, reads and discards what a refusal left of the body before the answer goes out. `wrangler dev` keeps
 * connections to the Worker in a pool; workerd closes one whose body stayed unread, and the next request on it ends the
 * whole process (wrangler 4.116: "Error inside ProxyWorker: Network connection lost"). A body that pauses is not waited
 * for: its connection is not used again. A deployment has no such proxy and answers at once.
 */
export function drainBody(deps: EdgeDeps): MiddlewareHandler<EdgeEnvironment> {
  return async (c, next) => {
    await next();
    const { body } = c.req.raw;
    if (!deps.isBehindDevProxy || body === null || body.locked) return;
    await drain(body);
  };
}
