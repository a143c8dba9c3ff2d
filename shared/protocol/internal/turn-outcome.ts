import * as z from "zod";
import { isErrorCode } from "../../errors/codes.ts";
import type { ErrorOutcome } from "../../errors/gateway-error.ts";
import type { CellId, RegionId, ShardId, TurnId } from "../../residency/brands.ts";
import type { Spill } from "../../routing/next-home.ts";
import type { Usage } from "../usage.ts";

/** An item of the history as it is carried and stored: its JSON is opaque to objects and databases. */
export interface ItemRecord {
  readonly id: string;
  /** The item's `type`: `message`, `function_call`, `function_call_output`, `reasoning`. */
  readonly type: string;
  /** The whole item as JSON text. */
  readonly json: string;
}

/** Why a candidate shard did not run the prompt. */
export interface RejectedCandidate {
  readonly id: string;
  readonly reason: string;
}

/** How a turn ended, as the cell reports it. Content-free but for `items` and `body`, which the durable lane stores. */
export interface TurnOutcome {
  readonly v: 1;
  readonly turnId: TurnId;
  readonly attempt: number;
  readonly status: "completed" | "incomplete" | "failed" | "cancelled";
  readonly error: ErrorOutcome | null;
  /** Of a failed turn: whether another cell may go on with it, because what it lacked is this cell's own. */
  readonly mayMove: boolean;
  /** Seams in the answer: how often another shard or cell went on with it. */
  readonly continuations: number;
  readonly cell: CellId;
  readonly region: RegionId;
  readonly shard: ShardId | null;
  /** The model that answered: a smaller one than was asked for where the tenant allows it (docs/degradation.md). */
  readonly model?: string;
  readonly rejected: readonly RejectedCandidate[];
  /** Set when the conversation's home could have run it later: whether the home is kept (`shared/routing/next-home.ts`). */
  readonly spill?: Spill;
  readonly usage: Usage;
  readonly finishReasons: readonly string[];
  /** Assistant items to append to the conversation; empty on the stateless lane. */
  readonly items: readonly ItemRecord[];
  /** The whole answer as a not streamed client would get it (JSON text); null on the stateless lane. */
  readonly body: string | null;
  readonly queueWaitMs: number;
  /** Time from dispatch to the first token, ms; null when there was none. */
  readonly ttftMs: number | null;
  readonly totalMs: number;
}

const id = z.string().min(1).max(200);
const tokens = z.int().min(0);

const schema = z.object({
  v: z.literal(1),
  turnId: id,
  attempt: z.int().min(1),
  status: z.enum(["completed", "incomplete", "failed", "cancelled"]),
  error: z
    .object({
      code: z.string().refine(isErrorCode),
      message: z.string(),
      param: z.string().optional(),
      retryAfterMs: z.number().optional(),
    })
    .nullable(),
  mayMove: z.boolean(),
  continuations: z.int().min(0),
  cell: id,
  region: id,
  shard: id.nullable(),
  model: id.optional(),
  rejected: z.array(z.object({ id, reason: z.string().max(64) })).max(1024),
  spill: z.enum(["once", "pays"]).optional(),
  usage: z.object({
    promptTokens: tokens,
    completionTokens: tokens,
    cachedTokens: tokens,
    reasoningTokens: tokens,
  }),
  finishReasons: z.array(z.string().max(64)).max(128),
  items: z.array(z.object({ id, type: z.string().max(64), json: z.string() })).max(1024),
  body: z.string().nullable(),
  queueWaitMs: z.number().min(0),
  ttftMs: z.number().min(0).nullable(),
  totalMs: z.number().min(0),
});

/** The outcome in `text`, or null when it is none: the edge trusts a cell's signature, not its grammar. */
export function parseTurnOutcome(text: string): TurnOutcome | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  const parsed = schema.safeParse(value);
  return parsed.success ? (parsed.data as unknown as TurnOutcome) : null;
}
