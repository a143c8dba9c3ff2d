import type { ErrorOutcome } from "../errors/gateway-error.ts";
import type { InvalidReason } from "../protocol/engine-event.ts";
import type { TurnPolicy } from "./turn-policy.ts";

/** What a shard refuses about the prompt itself: another shard would refuse it as well. */
export interface ClientFault {
  readonly code: "invalid_request" | "context_length_exceeded" | "body_too_large";
  readonly param?: string;
}

/** Why a shard did not finish its answer. `reason` is metric label and log field. */
export type ShardFailure =
  /** No connection, or it broke before the answer's headers. */
  | { readonly reason: "unreachable" }
  /** The connection broke inside the answer. */
  | { readonly reason: "cut" }
  | { readonly reason: "firstTokenTimeout" }
  | { readonly reason: "stalled" }
  /** It speaks, but far more slowly than was predicted. */
  | { readonly reason: "overdue" }
  /** It is being drained and its time is over: nothing is wrong with it. */
  | { readonly reason: "drained" }
  /** 429: alive, but full. */
  | { readonly reason: "saturated"; readonly status: number; readonly retryAfterMs?: number }
  /** It is not running yet: alive, and of no use for this prompt. */
  | { readonly reason: "cold"; readonly status: number; readonly retryAfterMs?: number }
  | { readonly reason: "serverError"; readonly status: number }
  /** Redirects, 401, 403, 404, …: ours to repair, not the client's. */
  | { readonly reason: "unexpectedStatus"; readonly status: number }
  | { readonly reason: "invalid"; readonly detail: InvalidReason }
  | { readonly reason: "clientFault"; readonly status: number; readonly fault: ClientFault };

/** Why no shard was chosen. */
export type NoShardReason =
  /** The cell has no shard of the model that was not tried yet. */
  | "noShard"
  /** There are shards, and none of them may be used now. */
  | "unhealthy"
  /** None runs, and the start of one is not worth waiting for. */
  | "cold"
  /** The queue for the model is full, or longer than the turn may wait. */
  | "queueFull"
  /** The cell is overloaded and serves other turns before this one. */
  | "shed"
  /** The turn waited as long as its class may wait. */
  | "queueTimeout"
  /** The client's deadline came before a shard was free: expired work is dropped, not run. */
  | "deadlinePassed"
  /** The prompt broke two shards: no other one is risked. */
  | "poisoned"
  /** The cell takes no more work. */
  | "draining";

/** The text for a prompt that the engine refuses; the engine's own text never passes, it may quote the prompt. */
export function clientFaultError(fault: ClientFault): ErrorOutcome {
  const message = {
    invalid_request:
      "The model's engine refuses this request. Check the parameters and the messages.",
    context_length_exceeded:
      "The prompt and the answer asked for are longer than the model's context. Shorten the messages or lower max_tokens.",
    body_too_large: "The prompt is too large for the model's engine. Shorten it.",
  }[fault.code];
  return fault.param === undefined
    ? { code: fault.code, message }
    : { code: fault.code, message, param: fault.param };
}

/** What the client is told when the last shard that could be tried has failed with `failure`, before its first token. */
export function failureError(failure: ShardFailure, policy: TurnPolicy): ErrorOutcome {
  switch (failure.reason) {
    case "clientFault":
      return clientFaultError(failure.fault);
    case "saturated":
      return {
        code: "saturated",
        message: "Every shard that serves this model is full. Try again shortly.",
        retryAfterMs: failure.retryAfterMs ?? policy.saturatedRetryAfterMs,
      };
    case "unreachable":
    case "cold":
    case "drained":
      return noCapacityError(policy);
    case "cut":
    case "firstTokenTimeout":
    case "stalled":
    case "overdue":
    case "serverError":
    case "unexpectedStatus":
    case "invalid":
      return {
        code: "upstream_invalid",
        message: "The shards that serve this model did not give a valid answer.",
      };
  }
}

/** The end of a begun answer that no shard here could go on with. */
export const interruptedError: ErrorOutcome = {
  code: "interrupted",
  message:
    "The answer was interrupted and could not be continued. What was received is not complete.",
};

/** The end of a begun answer that another shard answered in other words. */
export const divergedError: ErrorOutcome = {
  code: "interrupted",
  message:
    "The answer was interrupted, and generated again it was another one. What was received is not complete.",
};

/** The honest refusal when the jurisdiction has nothing to serve with; never served elsewhere. */
export function noCapacityError(policy: TurnPolicy): ErrorOutcome {
  return {
    code: "no_capacity_in_jurisdiction",
    message: "No shard of this jurisdiction can serve the model at the moment. Try again later.",
    retryAfterMs: policy.noCapacityRetryAfterMs,
  };
}

/** What the client is told when no shard was chosen and none had been tried before. */
export function noShardError(
  reason: NoShardReason,
  retryAfterMs: number | undefined,
  policy: TurnPolicy,
): ErrorOutcome {
  switch (reason) {
    case "noShard":
    case "unhealthy":
      return noCapacityError(policy);
    case "cold":
      return {
        code: "no_capacity_in_jurisdiction",
        message: "The shards that serve this model are being started. Try again later.",
        retryAfterMs: retryAfterMs ?? policy.noCapacityRetryAfterMs,
      };
    case "queueFull":
    case "queueTimeout":
      return {
        code: "saturated",
        message: "Every shard that serves this model is full. Try again shortly.",
        retryAfterMs: retryAfterMs ?? policy.saturatedRetryAfterMs,
      };
    case "shed":
      return {
        code: "saturated",
        message: "There is more work than capacity, and other requests go first. Try again later.",
        retryAfterMs: retryAfterMs ?? policy.saturatedRetryAfterMs,
      };
    case "deadlinePassed":
      return {
        code: "deadline_exceeded",
        message: "No shard could begin the request before its deadline.",
      };
    case "poisoned":
      return {
        code: "prompt_quarantined",
        message:
          "This prompt ended two shards that ran it. It is refused for ten minutes; change it before you send it again.",
      };
    case "draining":
      return {
        code: "draining",
        message: "This cell is being shut down. Try again.",
        retryAfterMs: retryAfterMs ?? policy.saturatedRetryAfterMs,
      };
  }
}
