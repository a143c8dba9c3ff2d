import type { MiddlewareHandler } from "hono";
import { GatewayError } from "#shared/errors/gateway-error.ts";
import type { EdgeEnvironment } from "../request-facts.ts";

/** Headers of one request, and the bytes of all names and values; docs/architecture.md, security. */
const headersMax = 100;
const headerBytesMax = 16 * 1024;

/** Refuses a request with too many or too large headers, before anything of it is read. */
export const headerCaps: MiddlewareHandler<EdgeEnvironment> = async (c, next) => {
  let count = 0;
  let bytes = 0;
  // Not the iterator, which makes an object and an array for each header.
  c.req.raw.headers.forEach((value, name) => {
    count += 1;
    bytes += name.length + value.length;
  });
  if (count > headersMax || bytes > headerBytesMax) {
    throw new GatewayError(
      "headers_too_large",
      `A request may have ${headersMax} headers of ${headerBytesMax} bytes together.`,
    );
  }
  await next();
};
