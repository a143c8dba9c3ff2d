import { ModelAdmission } from "#shared/admission/model-admission.ts";
import { defaultQueuePolicy } from "#shared/admission/queue-policy.ts";
import type { QueuedTurn } from "#shared/admission/tenant-line.ts";
import type { Priority } from "#shared/config/topology.ts";

/** What a tenant asks for of a class, tokens per second, in turns of `costTokens`. */
export interface ClassDemand {
  readonly tenant: string;
  readonly priority: Priority;
  readonly tokensPerSecond: number;
  readonly costTokens: number;
}

/** What became of it. */
export interface ClassOutcome {
  asked: number;
  served: number;
  /** Shed, refused, or taken out of the queue. */
  refused: number;
  /** Longest wait of one that was served, ms. */
  longestMs: number;
}

/** Work that all slots do, tokens per second. */
export const runTokensPerSecond = 10_000;
const slots = 20;
const stepMs = 20;

interface Waiting {
  readonly outcome: ClassOutcome | null;
  readonly expiresAtMs: number;
  readonly turn: QueuedTurn;
}

/**
 * A model's admission in front of slots that each do a twentieth of the work, in virtual time, as a cell drives it. Counts turns
 * by tenant and class that come from `fromMs` on.
 */
export function runAdmission(
  demands: readonly ClassDemand[],
  { fromMs, untilMs }: { readonly fromMs: number; readonly untilMs: number },
): {
  readonly outcomeOf: (tenant: string, priority?: Priority) => ClassOutcome;
  readonly busy: number;
} {
  const admission = new ModelAdmission<Waiting>(defaultQueuePolicy);
  const { queue } = admission;
  const outcomes = new Map<ClassDemand, ClassOutcome>();
  const owed = new Map<ClassDemand, number>();
  let running: { readonly endsAtMs: number; readonly end: () => void }[] = [];
  let [busySteps, steps] = [0, 0];
  let seed = 1;
  const random = (): number => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;

  function refuse({ outcome }: Pick<Waiting, "outcome">): void {
    if (outcome !== null) outcome.refused += 1;
  }

  function begin({ outcome, turn }: Waiting, waitedMs: number, nowMs: number): void {
    const { costTokens: workTokens, priority, tenant } = turn;
    const predictedMs = (1_000 * workTokens * slots) / runTokensPerSecond;
    const work = admission.began({ tenant, priority, workTokens, predictedMs }, nowMs);
    if (outcome !== null) {
      outcome.served += 1;
      outcome.longestMs = Math.max(outcome.longestMs, waitedMs);
    }
    const endsAtMs = nowMs + predictedMs;
    running.push({ endsAtMs, end: () => admission.ended(work, true, endsAtMs) });
  }

  function arrive(demand: ClassDemand, nowMs: number): void {
    const { costTokens, priority, tenant } = demand;
    const own = outcomes.get(demand) ?? { asked: 0, served: 0, refused: 0, longestMs: 0 };
    outcomes.set(demand, own);
    const outcome = nowMs >= fromMs ? own : null;
    if (outcome !== null) outcome.asked += 1;
    const turn = { tenant, priority, isLaterTurn: false, costTokens, deadlineMs: nowMs + 600_000 };
    const user = `u${Math.floor(100 * random())}`;
    if (admission.screen({ ...turn, user }, costTokens, nowMs, random) !== null) {
      return refuse({ outcome });
    }
    if (queue.isFirst(turn) && running.length < slots * queue.ceilingOf(turn)) {
      return begin({ outcome, turn, expiresAtMs: 0 }, 0, nowMs);
    }
    const context = { waitingInCell: queue.length, isRoom: false, predict: () => null };
    const { decision, evicted } = admission.admit(turn, context, nowMs);
    if (decision.kind === "refuse") return refuse({ outcome });
    if (evicted !== null && queue.remove(evicted)) refuse(evicted.item);
    admission.add(turn, { outcome, turn, expiresAtMs: decision.expiresAtMs }, nowMs);
  }

  for (let nowMs = 0; nowMs < untilMs; nowMs += stepMs) {
    for (const { end, endsAtMs } of running) if (endsAtMs <= nowMs) end();
    running = running.filter(({ endsAtMs }) => endsAtMs > nowMs);
    for (const queued of queue.all()) {
      if (queued.item.expiresAtMs <= nowMs && queue.remove(queued)) refuse(queued.item);
    }
    const isTick = nowMs % 100 === 0;
    const dropped = isTick ? admission.tick(nowMs, () => slots - running.length) : [];
    for (const { item } of dropped) refuse(item);
    for (const demand of demands) {
      const due = (owed.get(demand) ?? 0) + (demand.tokensPerSecond * stepMs) / 1_000;
      const count = Math.floor(due / demand.costTokens);
      owed.set(demand, due - count * demand.costTokens);
      for (let each = 0; each < count; each += 1) arrive(demand, nowMs);
    }
    queue.serve(nowMs, ({ ceiling, queued }) => {
      if (running.length >= slots * ceiling) return "full";
      queue.take(queued);
      begin(queued.item, nowMs - queued.enqueuedAtMs, nowMs);
      return "gone";
    });
    if (nowMs < fromMs) continue;
    steps += 1;
    busySteps += running.length / slots;
  }

  return {
    busy: busySteps / steps,
    outcomeOf(tenant, priority) {
      const sum = { asked: 0, served: 0, refused: 0, longestMs: 0 };
      for (const [demand, { asked, longestMs, refused, served }] of outcomes) {
        if (demand.tenant !== tenant || (priority ?? demand.priority) !== demand.priority) continue;
        sum.asked += asked;
        sum.served += served;
        sum.refused += refused;
        sum.longestMs = Math.max(sum.longestMs, longestMs);
      }
      return sum;
    },
  };
}
