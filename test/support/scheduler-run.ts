import { createScheduler } from "#regional/scheduler/cell-scheduler.ts";
import type { SchedulerOptions } from "#regional/scheduler/cell-scheduler.ts";
import type { CellScheduler, Slot, SlotReply, SlotRequest } from "#regional/scheduler/scheduler.ts";
import { createShardBook } from "#regional/scheduler/shard-book.ts";
import type { ShardBook, ShardBookOptions } from "#regional/scheduler/shard-book.ts";
import { defaultQueuePolicy } from "#shared/admission/queue-policy.ts";
import type { QueuePolicy } from "#shared/admission/queue-policy.ts";
import { defaultBreakerPolicy } from "#shared/breaker/breaker-policy.ts";
import type { ShardDescription } from "#shared/config/topology.ts";
import type { Jurisdiction } from "#shared/residency/brands.ts";
import { HandClock } from "./hand-clock.ts";

/** A scheduler with its book, on a clock that the test moves. */
export interface SchedulerRun {
  readonly clock: HandClock;
  readonly book: ShardBook;
  readonly scheduler: CellScheduler;
}

/** What a test changes of a scheduler. */
export interface SchedulerChanges {
  readonly shards?: readonly string[];
  readonly slots?: number;
  /** Of a platform that takes its shards down when nobody asks them. */
  readonly scaleToZeroSeconds?: number;
  readonly policy?: Partial<QueuePolicy>;
  readonly options?: Partial<SchedulerOptions>;
  /** Which shards run; all do without. */
  readonly lives?: ShardBookOptions["lives"];
}

/** A scheduler of simulated shards of model `m`. */
export function aSchedulerRun(changes: SchedulerChanges = {}): SchedulerRun {
  const { lives, options, policy, scaleToZeroSeconds, shards = ["a"], slots = 1 } = changes;
  const clock = new HandClock();
  const book = createShardBook({
    shards: shards.map(
      (id) =>
        ({
          id,
          model: "m",
          revision: "1",
          backend: { kind: "simulated" },
          concurrentRequestsMax: slots,
          kvTokensMax: 400_000,
          pricePerHourMicroUsd: 1_000_000,
          ...(scaleToZeroSeconds === undefined ? {} : { scaleToZeroSeconds }),
        }) as ShardDescription,
    ),
    jurisdiction: "eu" as Jurisdiction,
    contextTokensMax: () => 100_000,
    random: () => 0.5,
    policy: defaultBreakerPolicy,
    ...(lives === undefined ? {} : { lives }),
  });
  const scheduler = createScheduler({
    book,
    clock,
    random: { unit: () => 0.5, hex: () => "" },
    policy: { ...defaultQueuePolicy, ...policy },
    ...options,
  });
  return { clock, book, scheduler };
}

/** A small interactive prompt of tenant `acme`. */
export function aSlotRequest(changes: Partial<SlotRequest> = {}): SlotRequest {
  return {
    model: "m",
    homeShard: null,
    affinityKey: "k",
    excluded: [],
    priority: "interactive",
    promptTokensEstimate: 5,
    deadlineMs: 1_000_000,
    tenant: "acme",
    conversationId: null,
    promptKeys: [],
    path: "chat/completions",
    completionTokensMax: 100,
    ...changes,
  };
}

/** A turn that asked for a slot. */
export interface AskedTurn {
  readonly replies: SlotReply[];
  readonly cancel: () => void;
}

/** Asks for a slot and keeps the answers. */
export function askForSlot(
  { scheduler }: Pick<SchedulerRun, "scheduler">,
  changes: Partial<SlotRequest> = {},
): AskedTurn {
  const replies: SlotReply[] = [];
  const cancel = scheduler.acquire(aSlotRequest(changes), (reply) => replies.push(reply));
  return { replies, cancel };
}

/** The slot that `asked` was given. */
export function slotOf({ replies }: AskedTurn): Slot {
  const [reply] = replies;
  if (reply?.kind !== "chosen") throw new Error(`no slot but ${JSON.stringify(reply)}`);
  return reply.slot;
}
