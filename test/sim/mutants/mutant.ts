import type { Machines } from "../world/machines.ts";

/** A seeded bug: one machine replaced, or one shell of the simulation misbehaving. The checkers must find it. */
export interface Mutant {
  readonly name: string;
  readonly machines?: Partial<Machines>;
  readonly quirks?: readonly string[];
  /** Profile under which it shows; `swarm` unless said. */
  readonly profile?: string;
  /** Seeds within which it must be found; 40 unless said. */
  readonly seeds?: number;
}
