import { defaultConversationPolicy } from "#shared/conversation/policy.ts";
import { framesAfter, lastSeqOf } from "#shared/conversation/frames.ts";
import type { Topology } from "#shared/config/topology.ts";
import type { HistoryReply } from "#shared/protocol/internal/history.ts";
import { outcomeBlockStart } from "#shared/protocol/internal/stream.ts";
import { parseTurnOutcome } from "#shared/protocol/internal/turn-outcome.ts";
import type { CellDescription } from "#shared/config/topology.ts";
import type { CellId } from "#shared/residency/brands.ts";
import type { ConversationPorts, PullReply } from "../objects/ports.ts";

/** A signed call to a cell. Rejects when the cell cannot be reached or `signal` aborts; `redirect` is manual. */
export type CellFetch = (
  cell: CellDescription,
  call: { readonly method: string; readonly path: string; readonly body: string },
  signal: AbortSignal,
) => Promise<Response>;

export interface ConversationPortsDeps {
  readonly topology: Topology;
  readonly mode: "enforce" | "emulate";
  readonly cellFetch: CellFetch;
  readonly log: ConversationPorts["log"];
}

/** How long one delivery may take, ms; the database's own deadline in the cell is shorter. */
const deliveryTimeoutMs = 10_000;
/** How long a pull reads a running turn before it takes what it has, ms. */
const pullTimeoutMs = 4_000;
const abortTimeoutMs = 3_000;
/** Characters of one pull; a turn's frame buffer in a cell is bounded by 4 MiB. */
const pullCharactersMax = 8 * 1024 * 1024;

const historyReplies = new Set(["applied", "duplicate", "fenced", "gap", "erased"]);

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

/**
 * Splits what a cell sent into client frames and the outcome; a block that is not whole is left out. Frames after the
 * outcome are the terminal ones, and belong to the journal too.
 */
export function readPulledText(
  text: string,
  afterSeq: number,
): Extract<PullReply, { kind: "frames" }> {
  const whole = text.slice(0, text.lastIndexOf("\n\n") + 2);
  const blocks = whole.split("\n\n").filter((block) => block !== "");
  const outcomeBlock = blocks.find((block) => `${block}\n`.startsWith(outcomeBlockStart));
  const outcome =
    outcomeBlock === undefined
      ? null
      : parseTurnOutcome(outcomeBlock.slice(outcomeBlockStart.length + "data: ".length));
  const frames = framesAfter(
    blocks
      .filter((block) => block.startsWith("id: "))
      .map((block) => `${block}\n\n`)
      .join(""),
    afterSeq,
  );
  if (frames === "") return { kind: "frames", segment: null, outcome };
  const toSeq = lastSeqOf(frames, afterSeq);
  return { kind: "frames", segment: { fromSeq: afterSeq + 1, toSeq, text: frames }, outcome };
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
  const { topology, mode, cellFetch, log } = deps;

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

    async pullTurn(cellId, turnId, attempt, afterSeq) {
      const cell = topology.cells.get(cellId);
      if (cell === undefined) return { kind: "unknown" };
      try {
        const path = `/internal/turns/${turnId}/frames?attempt=${attempt}&after=${afterSeq}`;
        return await within(pullTimeoutMs, async (signal): Promise<PullReply> => {
          const response = await cellFetch(cell, { method: "GET", path, body: "" }, signal);
          if (response.status === 404) return { kind: "unknown" };
          if (!response.ok || response.body === null) return { kind: "unreachable" };
          return readPulledText(await readUntil(response.body, signal), afterSeq);
        });
      } catch {
        return { kind: "unreachable" };
      }
    },
  };
}
