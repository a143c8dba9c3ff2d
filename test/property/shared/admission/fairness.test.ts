import fc from "fast-check";
import { describe, it } from "vitest";
import { ModelQueue } from "#shared/admission/model-queue.ts";
import { defaultQueuePolicy } from "#shared/admission/queue-policy.ts";
import type { QueuedTurn } from "#shared/admission/tenant-line.ts";

/** What a tenant asks for: a turn of `costTokens` every `everyMs`. */
interface Demand {
  readonly tenant: string;
  readonly everyMs: number;
  readonly costTokens: number;
  readonly isLaterTurn: boolean;
}

interface Served {
  readonly tokens: Map<string, number>;
  readonly waitsMs: Map<string, number[]>;
}

/** Work that the one server of the model under test does, tokens per second. */
const tokensPerSecond = 10_000;
const runMs = 20_000;

/** Runs `demands` against one server that does one turn at a time, in virtual time. */
function serve(demands: readonly Demand[]): Served {
  const queue = new ModelQueue<QueuedTurn>(defaultQueuePolicy);
  const tokens = new Map<string, number>();
  const waitsMs = new Map<string, number[]>();
  let busyUntilMs = 0;
  for (let nowMs = 0; nowMs < runMs; nowMs += 10) {
    for (const { costTokens, everyMs, isLaterTurn, tenant } of demands) {
      if (nowMs % everyMs !== 0) continue;
      const deadlineMs = nowMs + 600_000;
      const turn = {
        tenant,
        priority: "interactive",
        isLaterTurn,
        costTokens,
        deadlineMs,
      } as const;
      queue.add(turn, turn, nowMs);
    }
    if (nowMs < busyUntilMs) continue;
    queue.serve(nowMs, ({ queued }) => {
      if (nowMs < busyUntilMs) return "full";
      const { costTokens, tenant } = queued.turn;
      queue.take(queued);
      queue.charge(tenant, costTokens, nowMs);
      // What is left of the step before is not lost.
      busyUntilMs = Math.max(busyUntilMs, nowMs - 10) + (1_000 * costTokens) / tokensPerSecond;
      tokens.set(tenant, (tokens.get(tenant) ?? 0) + costTokens);
      const waits = waitsMs.get(tenant) ?? [];
      waits.push(nowMs - queued.enqueuedAtMs);
      waitsMs.set(tenant, waits);
      return "gone";
    });
  }
  return { tokens, waitsMs };
}

/** 1 when all get the same, 1/n when one gets all (Jain, Chiu and Hawe 1984). */
function jain(values: readonly number[]): number {
  const sum = values.reduce((total, value) => total + value, 0);
  const squares = values.reduce((total, value) => total + value * value, 0);
  return (sum * sum) / (values.length * squares);
}

const turnTokens = fc.integer({ min: 100, max: 8_000 });
/** A tenant that alone asks for `times` what the server can do. */
function overload(tenant: string, costTokens: number, times: number, isLaterTurn = false): Demand {
  const everyMs = Math.max(10, Math.round((100 * costTokens) / (tokensPerSecond * times)) * 10);
  return { tenant, everyMs, costTokens, isLaterTurn };
}

describe("fairness among tenants", () => {
  it("keeps a small tenant's waits short under another one's flood", ({ expect }) => {
    fc.assert(
      fc.property(turnTokens, fc.integer({ min: 100, max: 2_000 }), (floodTokens, ownTokens) => {
        const flood = overload("flood", floodTokens, 5, true);
        const small = overload("small", ownTokens, 0.02);
        const { waitsMs } = serve([flood, small]);
        const waits = waitsMs.get("small") ?? [];
        // The turn that is served when it comes, and what is left of the round: a quantum and one turn.
        const quantum = defaultQueuePolicy.share.quantumTokens;
        const mostMs = (1_000 * (quantum + 2 * floodTokens)) / tokensPerSecond + 20;
        expect(waits.length).toBeGreaterThan(0);
        expect(Math.max(...waits)).toBeLessThanOrEqual(mostMs);
      }),
      { numRuns: 30 },
    );
  });

  it("shares the tokens evenly among tenants that all ask for too much", ({ expect }) => {
    fc.assert(
      fc.property(fc.array(turnTokens, { minLength: 2, maxLength: 6 }), (costs) => {
        // The first asks for a hundred times what the others do.
        const demands = costs.map((cost, index) =>
          overload(`t${index}`, cost, index === 0 ? 20 : 1.2),
        );
        const { tokens } = serve(demands);
        const shares = demands.map(({ tenant }) => tokens.get(tenant) ?? 0);
        expect(jain(shares)).toBeGreaterThan(0.97);
      }),
      { numRuns: 40 },
    );
  });

  it("starves nobody: whoever waits is served", ({ expect }) => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(turnTokens, fc.boolean()), { minLength: 2, maxLength: 5 }),
        (tenants) => {
          const demands = tenants.map(([cost, later], index) =>
            overload(`t${index}`, cost, 3, later),
          );
          const { tokens } = serve(demands);
          for (const { tenant } of demands) expect(tokens.get(tenant) ?? 0).toBeGreaterThan(0);
        },
      ),
      { numRuns: 40 },
    );
  });
});
