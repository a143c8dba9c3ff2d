import { describe, expect, it } from "vitest";
import { noBadSeconds, stepAbort } from "#dev/drill/judge/abort.ts";
import type { AbortPolicy, Observation } from "#dev/drill/judge/abort.ts";

const policy: AbortPolicy = {
  residentBytesMax: 1_000 * 2 ** 20,
  errorShareMax: { bystander: 0.2, interactive: 0.5 },
  badSecondsMax: { bystander: 1, interactive: 2 },
};
const well: Observation = {
  isSupervisorAlive: true,
  foreignAnswers: [],
  processes: [{ name: "edge", residentBytes: 1_000 * 2 ** 20 }],
  ended: { bystander: { count: 10, errors: 2 }, interactive: { count: 10, errors: 5 } },
};

function failing(group: "bystander" | "interactive"): Observation {
  return { ...well, ended: { ...well.ended, [group]: { count: 10, errors: 9 } } };
}

/** The reasons after each of these seconds. */
function reasons(...observations: readonly Observation[]): readonly (string | null)[] {
  let state = noBadSeconds;
  return observations.map((observation) => {
    const step = stepAbort(state, observation, policy);
    state = step.state;
    return step.reason;
  });
}

describe("aborting a drill", () => {
  it("lets one go on whose every figure is at its bound", () => {
    expect(reasons(well, well, well, well)).toEqual([null, null, null, null]);
  });

  it("stops at once when a shard of another jurisdiction answered", () => {
    const touched = { ...well, foreignAnswers: ["acme was answered by us-east-1a/llama-0"] };
    expect(reasons(touched)).toEqual([
      "another jurisdiction was touched: acme was answered by us-east-1a/llama-0",
    ]);
  });

  it("stops when the supervisor is gone", () => {
    expect(reasons({ ...well, isSupervisorAlive: false })).toEqual(["the supervisor died"]);
  });

  it("stops when one process holds a byte too much", () => {
    const processes = [{ name: "edge", residentBytes: policy.residentBytesMax + 1 }];
    expect(reasons({ ...well, processes })).toEqual(["edge holds 1000 MiB, the bound is 1000 MiB"]);
  });

  it("stops when interactive requests fail for longer than is borne", () => {
    const bad = failing("interactive");
    expect(reasons(bad, bad, bad)).toEqual([
      null,
      null,
      "more than 50 % of the interactive requests failed for 3 s",
    ]);
  });

  it("bears less of what others suffer", () => {
    const bad = failing("bystander");
    expect(reasons(bad, bad)).toEqual([
      null,
      "more than 20 % of the bystander requests failed for 2 s",
    ]);
  });

  it("begins to count again after a good second", () => {
    const bad = failing("interactive");
    expect(reasons(bad, bad, well, bad, bad)).toEqual([null, null, null, null, null]);
  });

  it("takes a second without an answer for no good one", () => {
    const bad = failing("interactive");
    const silent: Observation = {
      ...well,
      ended: { bystander: { count: 0, errors: 0 }, interactive: { count: 0, errors: 0 } },
    };
    expect(reasons(bad, bad, silent, bad).at(-1)).toContain("failed for 3 s");
  });
});
