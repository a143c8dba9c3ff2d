import { check } from "../judge/checks.ts";
import { isInteractive } from "../load/flow.ts";
import { calm } from "../load/traffic.ts";
import { readLifecycles } from "../system/system-state.ts";
import { allFlows, bystanders, holdFor, strictAbort, targetShards } from "./drill.ts";
import type { Drill, DrillContext, Fault } from "./drill.ts";

/** A shard that nobody asked for this long is taken down; four nights' lengths of it fit into the drill's night. */
const scaleToZeroSeconds = 12;
/** About the cold start of a small model from a snapshot, at the day's own pace. */
const coldStartMs = 2_000;
/** The hours of the compressed day: how long, and how many times the usual rate. */
const hours = [
  { name: "night", seconds: 45, rateFactor: 0.1 },
  { name: "morning", seconds: 20, rateFactor: 0.5 },
  { name: "noon", seconds: 30, rateFactor: 1.2 },
  { name: "afternoon", seconds: 20, rateFactor: 0.8 },
  { name: "evening", seconds: 15, rateFactor: 0.4 },
  { name: "second night", seconds: 45, rateFactor: 0.1 },
] as const;
const lookMs = 1_000;
/** A prompt that waits for a start begins late at worst; one in twenty may be later than its user's patience. */
const interactiveShareMin = 0.95;

/** A day of traffic in three minutes: shards go cold at night and come back in the morning, and nobody's prompt fails. */
export const day: Drill = {
  title: "a day of traffic in three minutes: idle shards are taken down and come back",
  platform: { scaleToZeroSeconds, coldStartMs },
  refuse: ({ scalesToZero }) =>
    scalesToZero
      ? null
      : "its shards are not taken down when they are idle; let it start its own system",
  prepare: (context) => aDay(context),
  expectations: (flows, jurisdiction) => [
    ...bystanders(flows, jurisdiction),
    ...flows
      .filter((flow) => flow.jurisdiction === jurisdiction && isInteractive(flow))
      .map(({ name }) => ({ flow: name, shareMin: interactiveShareMin, failuresMax: 0 })),
  ],
  recovering: allFlows,
  abort: strictAbort,
};

function aDay({ log, signal, system, traffic }: DrillContext): Fault {
  const shards = targetShards(system).map(({ id }) => id);
  const was = new Map<string, string>();
  const wentCold = new Set<string>();
  const cameBack = new Set<string>();
  let fewestReady = shards.length;
  let looks = 0;
  let isOn = false;

  async function look(): Promise<void> {
    const lifecycles = await readLifecycles(system.file());
    for (const id of shards) {
      const is = lifecycles.get(id) ?? "unknown";
      if (is === "cold" && was.get(id) === "ready") wentCold.add(id);
      if (is === "ready" && wentCold.has(id)) cameBack.add(id);
      was.set(id, is);
    }
    fewestReady = Math.min(fewestReady, shards.filter((id) => was.get(id) === "ready").length);
    looks += 1;
  }

  function setRate(rateFactor: number): void {
    for (const { jurisdiction, name } of system.flows)
      if (jurisdiction === system.jurisdiction) traffic.setManner(name, { ...calm, rateFactor });
  }

  function told(): string {
    const count = (kind: string): number => shards.filter((id) => was.get(id) === kind).length;
    return `${count("ready")} ready, ${count("warming")} warming, ${count("cold")} cold`;
  }

  return {
    killedParts: [],
    begin() {
      isOn = true;
      return Promise.resolve();
    },
    async hold() {
      const timer = setInterval(() => void look().catch(() => undefined), lookMs);
      for (const { name, rateFactor, seconds } of hours) {
        if (signal.aborted) break;
        log(`${name}: ${rateFactor} times the usual rate; ${told()}`);
        setRate(rateFactor);
        await holdFor(seconds, signal);
      }
      clearInterval(timer);
      log(`the day is over: ${told()}`);
    },
    end() {
      if (!isOn) return Promise.resolve();
      isOn = false;
      setRate(1);
      return Promise.resolve();
    },
    checks: () => [
      check("shards went cold", wentCold.size > 0, `${wentCold.size} of ${shards.length}`),
      check("they came back", cameBack.size > 0, `${cameBack.size} of ${wentCold.size}`),
      check(
        "a shard was ready at any time",
        looks > 0 && fewestReady > 0,
        `${fewestReady} at least, in ${looks} looks`,
      ),
    ],
  };
}
