/** What a request meets whose engine is not running. */
import type { Arrival, WhileCold } from "../platform.ts";
import { EngineError } from "./errors.ts";
import { sendError, type Exchange } from "./exchange.ts";

/**
 * Answers 503 with Retry-After, or waits until the engine has started, as its platform does.
 * @returns true when the exchange is over.
 */
export async function holdForStart(
  exchange: Exchange,
  arrival: Arrival,
  whileCold: WhileCold,
): Promise<boolean> {
  if (arrival.kind === "up") return false;
  const { remainingMs } = arrival;
  const { response } = exchange;
  if (whileCold === "refuse") {
    const retryAfter = String(Math.max(1, Math.ceil(remainingMs / 1_000)));
    const error = new EngineError(503, "The model is loading.");
    sendError(response, error, { "retry-after": retryAfter });
    return true;
  }
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, remainingMs);
    response.once("close", () => {
      clearTimeout(timer);
      resolve();
    });
  });
  return !exchange.isOpen();
}
