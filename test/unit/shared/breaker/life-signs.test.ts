import { describe, it } from "vitest";
import { stepBreaker } from "#shared/breaker/breaker.ts";
import { defaultBreakerPolicy } from "#shared/breaker/breaker-policy.ts";
import { newBreaker } from "#shared/breaker/breaker-state.ts";
import { withProbe, withProofOfLife } from "#shared/breaker/life-signs.ts";
import type { LifeSigns } from "#shared/breaker/life-signs.ts";

const policy = { ...defaultBreakerPolicy, jitterRatio: 0 };
const still = () => 0.5;
const alive: LifeSigns = { breaker: newBreaker(), isAlive: true, wasGone: false };

function probed(signs: LifeSigns, isOk: boolean, nowMs: number): LifeSigns {
  return withProbe(signs, isOk, nowMs, still, policy);
}

/** Gone: so many failed checks that the breaker is open. */
function gone(): LifeSigns {
  let signs = alive;
  for (let at = 0; at < policy.consecutiveFailuresMax; at += 1) signs = probed(signs, false, at);
  return signs;
}

/** Open because prompts failed while every check was answered. */
function failing(): LifeSigns {
  let { breaker } = alive;
  for (let at = 0; at < policy.consecutiveFailuresMax; at += 1)
    breaker = stepBreaker(breaker, { kind: "failure", trips: 0 }, at, still, policy).state;
  return { ...alive, breaker };
}

describe("a shard's signs of life", () => {
  it("open the breaker after as many failed checks as failed prompts", ({ expect }) => {
    const signs = gone();
    expect(signs).toMatchObject({ isAlive: false, wasGone: true, breaker: { kind: "open" } });
    // Another failed check keeps it away no longer.
    expect(probed(signs, false, 100).breaker).toStrictEqual(signs.breaker);
  });

  it("take a shard back early that was gone, and not one that fails prompts all the time", ({
    expect,
  }) => {
    const early = policy.openMs - 1_000;
    expect(probed(gone(), true, early)).toMatchObject({ isAlive: true, wasGone: true });
    expect(probed(gone(), true, policy.openMs + 10).breaker.kind).not.toBe("open");
    expect(probed(failing(), true, early).breaker.kind).toBe("open");
    expect(probed(failing(), true, early).breaker).toStrictEqual(failing().breaker);
  });

  it("help to close a breaker that is half open", ({ expect }) => {
    let signs = failing();
    for (let at = 0; at < policy.closingSuccesses; at += 1)
      signs = probed(signs, true, policy.openMs + 10 + at);
    expect(signs.breaker.kind).toBe("closed");
  });

  it("are none while the breaker is closed: nothing changes", ({ expect }) => {
    expect(probed(alive, true, 5)).toStrictEqual(alive);
    expect(withProofOfLife(alive, 5, still, policy)).toStrictEqual(alive);
  });
});
