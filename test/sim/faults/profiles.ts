import type { Random } from "../random.ts";
import { faultKinds } from "./catalogue.ts";
import type { FaultKind } from "./catalogue.ts";

/** Which faults a run has. */
export interface Profile {
  readonly name: string;
  /** Kinds that must happen over all its seeds. */
  readonly kinds: readonly FaultKind[];
  /** The fault's probability in this run; 0: not in it. */
  rate(kind: FaultKind, base: number, random: Random): number;
}

/** Not in `swarm`: what an older database lost of deletions and usage is not sent again (README.md, what is not simulated). */
const special: readonly FaultKind[] = ["db.restore", "clock.skew", "region.loss"];

function isUsual(kind: FaultKind): boolean {
  return !special.includes(kind);
}

/** Each fault is in half of the runs, at a rate of its own; some runs have none. */
function swarm(kinds: readonly FaultKind[]): Profile["rate"] {
  return (kind, base, random) => {
    const isOn = random.chance(0.5);
    const scale = random.pick([0.3, 1, 1, 2]);
    return isOn && kinds.includes(kind) ? Math.min(0.9, base * scale) : 0;
  };
}

function only(name: string, ...kinds: readonly FaultKind[]): Profile {
  return {
    name,
    kinds,
    rate: (kind, base) => (kinds.includes(kind) ? Math.min(0.9, base * 2) : 0),
  };
}

const usual = faultKinds.filter(isUsual);

/** By name; `--profile` takes one. */
export const profiles: Readonly<Record<string, Profile>> = {
  swarm: { name: "swarm", kinds: usual, rate: swarm(usual) },
  calm: { name: "calm", kinds: [], rate: () => 0 },
  /** Two kinds at a time: with one seed per pair their interplay is seen alone. */
  pairs: {
    name: "pairs",
    kinds: usual,
    rate: (kind, base, random) => (random.chance(2 / usual.length) && isUsual(kind) ? base * 4 : 0),
  },
  region: only("region", "region.loss", "cell.crash", "worker.crash"),
  clock: only("clock", "clock.skew", "net.loss", "object.crash", "cell.crash"),
  restore: only("restore", "db.restore", "db.ackLost", "object.crash"),
  /** Objects that lose their turns to others while both go on. */
  isolated: only("isolated", "object.isolated", "shard.slow", "object.zombie"),
  partition: only("partition", "net.partition", "net.delay", "pipe.silence"),
};
