import { Hono } from "hono";
import type { Context } from "hono";
import type { ErrorOutcome } from "#shared/errors/gateway-error.ts";
import { parseTurnRequest } from "#shared/protocol/internal/turn-request.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import { continueTrace } from "#shared/telemetry/traceparent.ts";
import type { RunningTurn } from "../turns/running-turn.ts";
import type { CellDeps } from "./cell-deps.ts";
import { placeHeaders, respondError, respondJson } from "./respond.ts";
import { headerOf, openSignedCall, readJson } from "./signed-call.ts";
import { answerTurn, followTurn, stopTurn } from "./turn-answer.ts";

/** Another attempt of the turn holds it; the caller stops. */
const fenced: ErrorOutcome = {
  code: "conversation_locked",
  message: "Another attempt of this turn was begun.",
};
const notHere: ErrorOutcome = { code: "not_found", message: "Nothing of this turn is kept here." };

/** The edge's calls about turns. */
export function turnRoutes(deps: CellDeps): Hono {
  const app = new Hono();

  app.put("/internal/turns/:turnId", async (context) => {
    const call = await openSignedCall(context, deps);
    if (!call.ok) return call.response;
    const read = readTurnRequest(context, call.body, deps);
    if (!read.ok) return respondError(read.error);
    const { request } = read;
    const trace = continueTrace(
      headerOf(context)("traceparent") ?? "",
      deps.random.hex(16),
      deps.random.hex(8),
    );
    const begun = deps.registry.begin(request, trace);
    if (begun.kind === "refused") {
      const { tenant } = request;
      return respondError(begun.error, placeHeaders(deps, { tenant, shard: null }));
    }
    if (begun.kind === "fenced" || begun.kind === "gone") return respondError(fenced);
    // The caller reads the turn later: it runs whether anybody does or not.
    if (context.req.query("detached") === "true") return respondJson({ kind: begun.kind }, 202);
    const { turn } = begun;
    const after = request.resume?.toSeq ?? 0;
    const gone = refuseReplay(turn, after);
    return gone ?? answerTurn(turn, after, context.req.raw.signal, deps);
  });

  app.get("/internal/turns/:turnId/frames", async (context) => {
    const call = await openSignedCall(context, deps);
    if (!call.ok) return call.response;
    const found = findTurn(context, deps);
    if ("code" in found) return respondError(found);
    const after = readCount(context.req.query("after"));
    if (after === null) return respondError(badRequest("after"));
    return refuseReplay(found, after) ?? followTurn(found, after, deps);
  });

  app.post("/internal/turns/:turnId/acknowledge", async (context) => {
    const call = await openSignedCall(context, deps);
    if (!call.ok) return call.response;
    const value = readJson(call.body);
    if (typeof value !== "object" || value === null) return respondError(badRequest("body"));
    const attempt = "attempt" in value ? readCount(value.attempt) : null;
    const seq = "seq" in value ? readCount(value.seq) : null;
    if (attempt === null || seq === null) return respondError(badRequest("body"));
    const isKnown = deps.registry.acknowledge(context.req.param("turnId"), attempt, seq);
    return isKnown ? respondJson({ kind: "ok" }) : respondError(notHere);
  });

  app.delete("/internal/turns/:turnId", async (context) => {
    const call = await openSignedCall(context, deps);
    if (!call.ok) return call.response;
    const attempt = readCount(context.req.query("attempt"));
    if (attempt === null) return respondError(badRequest("attempt"));
    const turnId = context.req.param("turnId");
    const found = deps.registry.find(turnId, attempt);
    const after = readCount(context.req.query("after"));
    if (after === null || found === null || found === "superseded") {
      const isKnown = deps.registry.remove(turnId, attempt);
      return isKnown ? respondJson({ kind: "ok" }) : respondError(notHere);
    }
    const response = stopTurn(found, after, deps);
    deps.registry.remove(turnId, attempt);
    return response;
  });

  return app;
}

type TurnRequestResult =
  | { readonly ok: true; readonly request: TurnRequest }
  | { readonly ok: false; readonly error: ErrorOutcome };

/** The request, when it is one, its address agrees with it, and it belongs to this cell and jurisdiction. */
function readTurnRequest(context: Context, body: Uint8Array, deps: CellDeps): TurnRequestResult {
  const parsed = parseTurnRequest(readJson(body));
  if (!parsed.ok) return { ok: false, error: badRequest(parsed.path) };
  const { request } = parsed;
  if (request.jurisdiction !== deps.cell.jurisdiction || request.cell !== deps.cell.id) {
    deps.log("warn", "wrong_jurisdiction", { requestId: request.requestId });
    return {
      ok: false,
      error: { code: "wrong_jurisdiction", message: "This cell does not serve the request." },
    };
  }
  if (request.turnId !== context.req.param("turnId")) {
    return { ok: false, error: badRequest("turnId") };
  }
  if (request.attempt !== readCount(context.req.query("attempt"))) {
    return { ok: false, error: badRequest("attempt") };
  }
  return { ok: true, request };
}

function findTurn(context: Context, deps: CellDeps): RunningTurn | ErrorOutcome {
  const attempt = readCount(context.req.query("attempt"));
  if (attempt === null) return badRequest("attempt");
  const found = deps.registry.find(context.req.param("turnId") ?? "", attempt);
  if (found === "superseded") return fenced;
  return found ?? notHere;
}

/** The answer to who wants frames that are gone, or null. */
function refuseReplay(turn: RunningTurn, after: number): Response | null {
  const readableAfter = turn.frames.firstReadableAfter();
  if (after >= readableAfter) return null;
  return respondError({
    code: "conversation_locked",
    message: `Frames up to ${readableAfter} were acknowledged and are gone.`,
  });
}

function badRequest(param: string): ErrorOutcome {
  return { code: "invalid_request", message: "The internal call is misshapen.", param };
}

/** A whole number ≥ 0, as number or text. */
function readCount(value: unknown): number | null {
  if (typeof value === "string") return /^\d{1,9}$/.test(value) ? Number(value) : null;
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : null;
}
