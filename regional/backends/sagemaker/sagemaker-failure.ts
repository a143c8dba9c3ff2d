import type { ShardFailure } from "#shared/conversation/turn-failure.ts";
import { classifyRefusal } from "../refusal.ts";

/** What an exception of the SDK tells beside its name; every field is the service's word and may be anything. */
interface ServiceException {
  readonly name?: unknown;
  readonly OriginalStatusCode?: unknown;
  readonly OriginalMessage?: unknown;
  readonly $metadata?: { readonly httpStatusCode?: unknown };
  readonly $response?: unknown;
}

function statusOf({ $metadata }: ServiceException): number | null {
  const status = $metadata?.httpStatusCode;
  return typeof status === "number" ? status : null;
}

/** The container's own answer; the message may quote the prompt, so that only its known phrases are looked for. */
function modelError({ OriginalMessage, OriginalStatusCode }: ServiceException): ShardFailure {
  const status = typeof OriginalStatusCode === "number" ? OriginalStatusCode : 500;
  if (status === 503) return { reason: "saturated", status };
  const text = typeof OriginalMessage === "string" ? OriginalMessage : "";
  return classifyRefusal(status, undefined, text);
}

/**
 * What an exception before the answer's first byte means (SageMaker API reference, InvokeEndpointWithResponseStream, errors):
 * a container's refusal counts as the container's; a model that is not loaded yet is cold; throttling and lack of service are
 * load; what is wrong with our request, credentials or names is ours to repair.
 */
export function classifySageMakerError(thrown: unknown): ShardFailure {
  if (typeof thrown !== "object" || thrown === null) return { reason: "unreachable" };
  const exception: ServiceException = thrown;
  const status = statusOf(exception);
  switch (exception.name) {
    case "ModelError":
      return modelError(exception);
    case "ModelNotReadyException":
      return { reason: "cold", status: status ?? 429 };
    case "ThrottlingException":
    case "ThrottledException":
    case "TooManyRequestsException":
      return { reason: "saturated", status: status ?? 429 };
    case "InternalFailure":
    case "ServiceUnavailable":
    case "InternalDependencyException":
      return { reason: "serverError", status: status ?? 500 };
    default:
      if (status === null) return { reason: "unreachable" };
      return status >= 500
        ? { reason: "serverError", status }
        : { reason: "unexpectedStatus", status };
  }
}
