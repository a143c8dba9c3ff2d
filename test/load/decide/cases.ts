import { seededRandom } from "#dev/simulated-engine/model/step-time.ts";
import { createShardBook } from "#regional/scheduler/shard-book.ts";
import type { SlotRequest } from "#regional/scheduler/scheduler.ts";
import { ModelAdmission } from "#shared/admission/model-admission.ts";
import { defaultQueuePolicy } from "#shared/admission/queue-policy.ts";
import { defaultBreakerPolicy } from "#shared/breaker/breaker-policy.ts";
import { emptyScopes, reserve, settle } from "#shared/budget/ledger.ts";
import { priorities } from "#shared/config/topology.ts";
import type { ShardDescription } from "#shared/config/topology.ts";
import type { Jurisdiction, ShardId } from "#shared/residency/brands.ts";
import { selectShard } from "#shared/routing/score-shard.ts";
import { defaultSelectionPolicy } from "#shared/routing/selection-policy.ts";
import type { PromptDemand, ShardState } from "#shared/routing/shard-state.ts";
import { aReservationUnder, noonMs } from "#test/support/ledger-builders.ts";
import { aSlotRequest } from "#test/support/scheduler-run.ts";
import { aPrompt, aShard } from "#test/unit/shared/routing/shards.ts";

/** One kind of decision: `run` makes `count` of them one after the other, with what they leave behind taken away again. */
export interface DecideCase {
  readonly name: string;
  /** Makes the world of the case, warm; the same for the same seed. */
  prepare(): (count: number) => void;
}

/** Prompts and tenants that a case goes round in. */
const rounds = 256;
const tenants = 20;

function prompts(shards: number, random: () => number): readonly PromptDemand[] {
  return Array.from({ length: rounds }, (_, index) =>
    aPrompt({
      inputTokens: 200 + Math.floor(random() * 20_000),
      outputTokens: 150,
      priority: priorities[index % priorities.length] ?? "batch",
      affinityKey: `conversation-${index}`,
      homeShard: index % 2 === 0 ? null : (`shard-${Math.floor(random() * shards)}` as ShardId),
    }),
  );
}

/** A busy fleet: half of the slots are taken, a tenth of the shards is filtered out. */
function busyShards(count: number, random: () => number): readonly ShardState[] {
  return Array.from({ length: count }, (_, index) =>
    aShard(`shard-${index}`, {
      inFlight: Math.floor(random() * 40),
      kvTokens: Math.floor(random() * 200_000),
      pendingPrefillTokens: Math.floor(random() * 8_000),
      workTokens: Math.floor(random() * 20_000),
      errorRatio: 0.7 + random(),
      isAdmitting: random() > 0.1,
    }),
  );
}

function selection(count: number): DecideCase {
  return {
    name: `selection among ${count} shards`,
    prepare() {
      const random = seededRandom(count);
      const candidates = busyShards(count, random);
      const asked = prompts(count, random);
      const cached = asked.map(({ inputTokens }) =>
        candidates.map(() => (random() < 0.1 ? Math.floor(random() * inputTokens) : 0)),
      );
      let turn = 0;
      return (decisions) => {
        for (let made = 0; made < decisions; made += 1) {
          const at = turn++ % rounds;
          const prompt = asked[at] ?? aPrompt();
          const cachedTokens = cached[at] ?? [];
          selectShard({ candidates, cachedTokens, prompt }, random, defaultSelectionPolicy);
        }
      };
    },
  };
}

/** What the cell does with each prompt: choose with all its counters, count, first token, end. */
function dispatchInCell(count: number): DecideCase {
  return {
    name: `dispatch in a cell of ${count} shards`,
    prepare() {
      const random = seededRandom(count);
      const book = createShardBook({
        shards: Array.from(
          { length: count },
          (_, index) =>
            ({
              id: `shard-${index}`,
              model: "m",
              revision: "1",
              backend: { kind: "simulated" },
              concurrentRequestsMax: 64,
              kvTokensMax: 400_000,
              pricePerHourMicroUsd: 1_000_000,
            }) as ShardDescription,
        ),
        jurisdiction: "eu" as Jurisdiction,
        contextTokensMax: () => 100_000,
        random,
        policy: defaultBreakerPolicy,
      });
      const requests: readonly SlotRequest[] = Array.from({ length: rounds }, (_, index) =>
        aSlotRequest({
          affinityKey: `conversation-${index}`,
          conversationId: `conversation-${index}`,
          tenant: `tenant-${index % tenants}`,
          promptTokensEstimate: 2_048,
          promptKeys: Array.from({ length: 8 }, (__, chunk) => index * 8 + chunk + 1),
        }),
      );
      let nowMs = 0;
      let turn = 0;
      return (decisions) => {
        for (let made = 0; made < decisions; made += 1) {
          nowMs += 1;
          const request = requests[turn++ % rounds] ?? aSlotRequest();
          const choice = book.choose(request, nowMs);
          if (choice.kind === "none") throw new Error(`an idle cell refused: ${choice.reason}`);
          const dispatch = book.begin(choice, nowMs);
          book.firstToken(dispatch, nowMs + 100);
          const seen = { tokens: 100, prompt: null };
          book.end(dispatch, { kind: "succeeded" }, seen, nowMs + 1_000);
        }
      };
    },
  };
}

/** A turn joins a queue in which 200 of 20 tenants wait, and the next in the order of service is taken. */
function admission(): DecideCase {
  return {
    name: "admission to a queue of 200",
    prepare() {
      const random = seededRandom(3);
      const cell = new ModelAdmission<number>(defaultQueuePolicy);
      const { queue } = cell;
      let nowMs = 0;
      let turn = 0;
      const admit = (): void => {
        nowMs += 1;
        turn += 1;
        const priority = priorities[turn % priorities.length] ?? "batch";
        const tenant = `tenant-${turn % tenants}`;
        const next = {
          tenant,
          priority,
          isLaterTurn: turn % 3 === 0,
          costTokens: 500 + (turn % 7) * 1_000,
          deadlineMs: nowMs + 60_000,
        };
        const subject = { ...next, user: `user-${turn % rounds}` };
        if (cell.screen(subject, next.costTokens, nowMs, random) !== null) return;
        const context = { waitingInCell: queue.length, isRoom: false, predict: () => null };
        const { decision } = cell.admit(next, context, nowMs);
        if (decision.kind === "wait") cell.add(next, turn, nowMs);
      };
      while (queue.length < 200) admit();
      return (decisions) => {
        for (let made = 0; made < decisions; made += 1) {
          admit();
          let isTaken = false;
          queue.serve(nowMs, ({ queued }) => {
            if (isTaken) return "full";
            isTaken = queue.take(queued);
            const { costTokens: workTokens, tenant } = queued.turn;
            const running = cell.began(
              { tenant, workTokens, predictedMs: 1_000, priority: queued.turn.priority },
              nowMs,
            );
            cell.ended(running, true, nowMs);
            return "gone";
          });
        }
      };
    },
  };
}

/** A reservation under every kind of limit, and its settlement. */
function reservation(): DecideCase {
  return {
    name: "ledger reservation and settlement",
    prepare() {
      const random = seededRandom(4);
      const limits = {
        requestsPerMinute: 1_000_000,
        tokensPerMinute: 1_000_000_000,
        concurrentRequests: 1_000,
      };
      let scopes = emptyScopes;
      let nowMs = noonMs;
      return (decisions) => {
        for (let made = 0; made < decisions; made += 1) {
          nowMs += 1;
          const asked = aReservationUnder(limits, { key: limits, expiresAtMs: nowMs + 60_000 });
          const step = reserve(scopes, asked, nowMs, random);
          if (step.reservation === null) throw new Error(`refused: ${step.result.kind}`);
          const used = { tokens: 80, costMicroUsd: 8 };
          scopes = settle(step.scopes, step.reservation, used, nowMs);
        }
      };
    },
  };
}

/** What `npm run bench:decide` measures. */
export const decideCases: readonly DecideCase[] = [
  selection(8),
  selection(64),
  selection(1_024),
  dispatchInCell(8),
  dispatchInCell(64),
  dispatchInCell(1_024),
  admission(),
  reservation(),
];
