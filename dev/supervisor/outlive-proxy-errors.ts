import { EventEmitter } from "node:events";

/**
 * Loaded with --import into `wrangler dev`, whose proxy and Worker are two processes of workerd. Their connections close after
 * 5 s of idleness on both sides; a request that meets that moment is lost, and wrangler up to the release with
 * cloudflare/workers-sdk pull request 15252 then ends, with an error without a text: one lost request became an outage of the
 * whole edge. Here such an error is told and the edge goes on; the request itself fails.
 */
const told = "[WARNING] wrangler's proxy lost a request to the Worker";

/** The error event of wrangler's that says so; every other error takes its course. */
function isLostRequest(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const event: { readonly source?: unknown; readonly reason?: unknown } = value;
  return event.source === "ProxyController" && event.reason === "Error inside ProxyWorker";
}

// oxlint-disable-next-line typescript/unbound-method -- called with the emitter that it was called on
const { emit } = EventEmitter.prototype;
EventEmitter.prototype.emit = function emitButLostRequests(
  this: EventEmitter,
  name: string | symbol,
  ...values: readonly unknown[]
): boolean {
  if (name === "error" && isLostRequest(values[0])) {
    process.stderr.write(`${told}\n`);
    return true;
  }
  return emit.call(this, name, ...values);
};
