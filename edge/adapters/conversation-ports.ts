import { defaultConversationPolicy } from "#shared/conversation/policy.ts";
import { costMicroUsd } from "#shared/budget/cost.ts";
import type { Topology } from "#shared/config/topology.ts";
import type { HistoryReply } from "#shared/protocol/internal/history.ts";
import { parsePrewarmReply } from "#shared/protocol/internal/prewarm.ts";
import type { DispatchReply, PullFinding } from "#shared/conversation/watchdog.ts";
import type { CellDescription } from "#shared/config/topology.ts";
import type { StopReply } from "#shared/conversation/cancel-turn.ts";
import type { CellId } from "#shared/residency/brands.ts";
import type { ConversationPorts } from "../objects/ports.ts";
import type { LedgerClient } from "../ports.ts";
import { readError, refusalCodes } from "./cell-client.ts";
import { readPulledText } from "./pulled-frames.ts";
import { sha256Hex } from "./web-crypto.ts";

/** A signed call to a cell. Rejects when the cell cannot be reached or `signal` aborts; `redirect` is manual. */
export type CellFetch = (
  cell: CellDescription,
  call: {
    readonly method: string;
    readonly path: string;
    readonly body: string;
    readonly headers?: Readonly<Record<string, string>>;
  },
  signal: AbortSignal,
) => Promise<Response>;

export interface ConversationPortsDeps {
  readonly topology: Topology;
  readonly mode: "enforce" | "emulate";
  readonly cellFetch: CellFetch;
  readonly ledger: Pick<LedgerClient, "settle">;
  readonly log: ConversationPorts["log"];
}

/** How long one delivery may take, ms; the database's own deadline in the cell is shorter. */
const deliveryTimeoutMs = 10_000;
/** How long a pull reads a running turn before it takes what it has, ms. */
const pullTimeoutMs = 4_000;
const abortTimeoutMs = 3_000;
/** A cell answers a pull and a detached start at once; one that takes longer is not there, ms. */
const answerTimeoutMs = 1_500;
/** A client waits for a cancellation: the cell has this long to say what it generated, ms. */
const stopTimeoutMs = 1_000;
/** A cell gives a prefill 45 s; this is longer, so that its own answer comes, ms. */
const prewarmTimeoutMs = 50_000;
/** Characters of one pull; a turn's frame buffer in a cell is bounded by 4 MiB. */
const pullCharactersMax = 8 * 1024 * 1024;

const historyReplies = new Set(["applied", "duplicate", "fenced", "gap", "erased", "sealed"]);

/** A cell's history reply, or `unavailable` when it is none. */
function readHistoryReply(value: unknown): HistoryReply {
  if (typeof value !== "object" || value === null || !("kind" in value))
    return { kind: "unavailable" };
  const { kind } = value;
  if (typeof kind !== "string" || !historyReplies.has(kind)) return { kind: "unavailable" };
  if (kind === "fenced") {
    return "fence" in value && typeof value.fence === "number"
      ? { kind, fence: value.fence }
      : { kind: "unavailable" };
  }
  if (kind === "gap") {
    return "nextSeq" in value && typeof value.nextSeq === "number"
      ? { kind, nextSeq: value.nextSeq }
      : { kind: "unavailable" };
  }
  if (kind === "sealed") {
    const isShaped = "nextSeq" in value && "chain" in value;
    return isShaped && typeof value.nextSeq === "number" && typeof value.chain === "string"
      ? { kind, nextSeq: value.nextSeq, chain: value.chain }
      : { kind: "unavailable" };
  }
  return kind === "applied" || kind === "duplicate" || kind === "erased"
    ? { kind }
    : { kind: "unavailable" };
}

/** Reads a body as text until it ends, `signal` aborts, or it grows too long; what was read so far counts. */
async function readUntil(body: ReadableStream<Uint8Array>, signal: AbortSignal): Promise<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  const cancel = (): void => void reader.cancel().catch(() => undefined);
  signal.addEventListener("abort", cancel, { once: true });
  try {
    while (text.length < pullCharactersMax) {
      const { done, value } = await reader.read();
      if (done) break;
      text += decoder.decode(value, { stream: true });
    }
  } catch {
    // A cut connection: the frames that came whole still count.
  } finally {
    signal.removeEventListener("abort", cancel);
    cancel();
  }
  return text;
}

/** Runs `work` under a timeout whose timer ends with it: a timer that is left keeps an object from hibernating. */
async function within<Result>(
  timeoutMs: number,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), timeoutMs);
  try {
    return await work(controller.signal);
  } finally {
    clearTimeout(timer);
  }
}

/** The ports of Conversation objects over signed calls to cells. Every failure is a value; nothing is retried here. */
export function createPorts(deps: ConversationPortsDeps): ConversationPorts {
  const { topology, mode, cellFetch, ledger, log } = deps;

  /** A call whose head must be there soon; `signal` bounds the body. */
  async function answered(
    cell: CellDescription,
    call: Parameters<CellFetch>[1],
    signal: AbortSignal,
  ): Promise<Response> {
    const head = new AbortController();
    const timer = setTimeout(() => head.abort(), answerTimeoutMs);
    try {
      return await cellFetch(cell, call, AbortSignal.any([signal, head.signal]));
    } finally {
      clearTimeout(timer);
    }
  }

  /** The cell first, then the others of its region: they share the region's database. */
  function cellsOfRegion(cellId: CellId): readonly CellDescription[] {
    const cell = topology.cells.get(cellId);
    if (cell === undefined) return [];
    const others = [...topology.cells.values()].filter(
      (other) =>
        other.region === cell.region &&
        other.jurisdiction === cell.jurisdiction &&
        other.id !== cell.id,
    );
    return [cell, ...others];
  }

  return {
    now: () => Date.now(),
    policy: defaultConversationPolicy,
    mode,
    log,
    expectedPin: (jurisdiction) => topology.jurisdictions.get(jurisdiction)?.objects ?? null,

    async deliverHistory(cellId, command) {
      for (const cell of cellsOfRegion(cellId)) {
        try {
          const call = { method: "POST", path: "/internal/history", body: JSON.stringify(command) };
          const reply = await within(deliveryTimeoutMs, async (signal) => {
            const response = await cellFetch(cell, call, signal);
            return readHistoryReply(await response.json());
          });
          if (reply.kind !== "unavailable") return reply;
        } catch {
          log("historyUnreachable", { cell: cell.id });
        }
      }
      return { kind: "unavailable" };
    },

    async abortTurn(cellId, turnId, attempt) {
      const cell = topology.cells.get(cellId);
      // A cell that left the topology holds no buffers that could be reached.
      if (cell === undefined) return "aborted";
      try {
        const path = `/internal/turns/${turnId}?attempt=${attempt}`;
        return await within(abortTimeoutMs, async (signal) => {
          const response = await cellFetch(cell, { method: "DELETE", path, body: "" }, signal);
          await response.body?.cancel();
          // 404: the cell does not know the turn, so there is nothing to stop or to forget.
          return response.ok || response.status === 404 ? "aborted" : "unreachable";
        });
      } catch {
        return "unreachable";
      }
    },

    async pullTurn({ cell: cellId, turnId, attempt, afterSeq }) {
      const cell = topology.cells.get(cellId);
      if (cell === undefined) return { kind: "unknown" };
      try {
        const path = `/internal/turns/${turnId}/frames?attempt=${attempt}&after=${afterSeq}`;
        return await within(pullTimeoutMs, async (signal): Promise<PullFinding> => {
          const response = await answered(cell, { method: "GET", path, body: "" }, signal);
          if (response.status === 404) return { kind: "unknown" };
          if (!response.ok || response.body === null) return { kind: "unreachable" };
          return readPulledText(await readUntil(response.body, signal), afterSeq);
        });
      } catch {
        return { kind: "unreachable" };
      }
    },

    async dispatchTurn(request, traceparent) {
      const cell = topology.cells.get(request.cell);
      if (cell === undefined) return { kind: "unreachable" };
      const { turnId, attempt, requestId } = request;
      const call = {
        method: "PUT",
        path: `/internal/turns/${turnId}?attempt=${attempt}&detached=true`,
        body: JSON.stringify(request),
        headers: { "x-request-id": requestId, traceparent },
      };
      try {
        return await within(pullTimeoutMs, async (signal): Promise<DispatchReply> => {
          const response = await answered(cell, call, signal);
          if (response.status === 202) {
            await response.body?.cancel();
            return { kind: "started" };
          }
          const error = await readError(response);
          // What is no refusal of the prompt (a fence, a signature, a proxy's page) says nothing of the attempt.
          if (error === null || !refusalCodes.has(error.code)) return { kind: "unreachable" };
          return { kind: "refused", error, mayMove: error.code !== "deadline_exceeded" };
        });
      } catch {
        return { kind: "unreachable" };
      }
    },

    async stopTurn({ cell: cellId, turnId, attempt, afterSeq }) {
      const cell = topology.cells.get(cellId);
      if (cell === undefined) return { kind: "unknown" };
      try {
        const path = `/internal/turns/${turnId}?attempt=${attempt}&after=${afterSeq}`;
        return await within(stopTimeoutMs, async (signal): Promise<StopReply> => {
          const response = await cellFetch(cell, { method: "DELETE", path, body: "" }, signal);
          if (response.status === 404) return { kind: "unknown" };
          if (!response.ok || response.body === null) return { kind: "unreachable" };
          const { segment, terminal, outcome } = readPulledText(
            await readUntil(response.body, signal),
            afterSeq,
          );
          return { kind: "stopped", segment, terminal, outcome };
        });
      } catch {
        return { kind: "unreachable" };
      }
    },

    async acknowledge({ cell: cellId, turnId, attempt }, seq) {
      const cell = topology.cells.get(cellId);
      if (cell === undefined) return;
      const path = `/internal/turns/${turnId}/acknowledge`;
      const call = { method: "POST", path, body: JSON.stringify({ attempt, seq }) };
      try {
        await within(answerTimeoutMs, async (signal) => {
          const response = await cellFetch(cell, call, signal);
          await response.body?.cancel();
        });
      } catch {
        log("acknowledgeFailed", { cell: cell.id });
      }
    },

    async prewarm(cellId, request) {
      const cell = topology.cells.get(cellId);
      if (cell === undefined) return { kind: "unreachable" };
      const call = { method: "POST", path: "/internal/prewarm", body: JSON.stringify(request) };
      try {
        return await within(prewarmTimeoutMs, async (signal) => {
          const response = await cellFetch(cell, call, signal);
          return parsePrewarmReply(await response.json()) ?? { kind: "unreachable" };
        });
      } catch {
        return { kind: "unreachable" };
      }
    },

    sha256Hex: (text) => sha256Hex(new TextEncoder().encode(text)),

    servedModel(jurisdictionId, modelId) {
      const jurisdiction = topology.jurisdictions.get(jurisdictionId);
      const model = jurisdiction?.models.get(modelId);
      if (jurisdiction === undefined || model === undefined) return null;
      const serving = new Set(
        jurisdiction.shards.filter((shard) => shard.model === modelId).map((shard) => shard.cell),
      );
      return {
        model,
        cells: jurisdiction.cells.map(({ id }) => id).filter((id) => serving.has(id)),
      };
    },

    async settle({ model: modelId, promptTokens, completionTokens, ...reservation }) {
      const { tenant, jurisdiction, reservationId } = reservation;
      const model = topology.jurisdictions.get(jurisdiction)?.models.get(modelId) ?? null;
      const tokens = { prompt: promptTokens, completion: completionTokens };
      try {
        await ledger.settle({
          tenant,
          jurisdiction,
          reservationId,
          used: {
            tokens: promptTokens + completionTokens,
            costMicroUsd: costMicroUsd(model, tokens),
          },
        });
        return "settled";
      } catch {
        return "unavailable";
      }
    },
  };
}
