/** Faults that happen where something is done, with their usual probability there (reliability.md, 4 and 6). */
export const siteFaults = {
  /** A message takes up to two seconds longer: others overtake it. */
  "net.delay": 0.03,
  "net.loss": 0.04,
  "net.duplicate": 0.06,
  /** The call arrived, its reply did not. */
  "net.lostReply": 0.04,
  "pipe.cut": 0.008,
  /** A body that was cut ends like a whole one. */
  "pipe.cleanEnd": 0.006,
  "pipe.silence": 0.004,
  /** Chunk borders anywhere, inside a character too. */
  "pipe.split": 0.3,
  /** A write to storage fails: the object is reset. */
  "object.storageFails": 0.01,
  "object.slowStorage": 0.03,
  "object.overloaded": 0.01,
  "object.alarmLate": 0.1,
  "object.alarmTwice": 0.1,
  "cell.saturated": 0.05,
  "shard.refuses": 0.06,
  "shard.serverError": 0.04,
  "shard.saturated": 0.04,
  "shard.stallsFirst": 0.02,
  "shard.stalls": 0.006,
  /** Sixty times slower than it should be, from its first token to its last. */
  "shard.slow": 0.12,
  "shard.cuts": 0.012,
  "shard.errorChunk": 0.008,
  "shard.garbage": 0.006,
  "shard.cleanEnd": 0.008,
  "shard.wrongModel": 0.005,
  "shard.repeats": 0.006,
  "shard.noUsage": 0.1,
  /** Another sample than the other shards give. */
  "shard.diverges": 0.05,
  "shard.clientFault": 0.01,
  "shard.refusesPrefix": 0.05,
  "db.ackLost": 0.1,
  "db.fails": 0.05,
  "db.slow": 0.05,
  "client.leaves": 0.08,
  "client.repeats": 0.15,
  "client.otherBody": 0.08,
} as const;

/** Faults that happen by themselves, with their probability per look of the chaos (0.4 s). */
export const scheduledFaults = {
  "object.crash": 0.08,
  "object.evict": 0.08,
  "object.zombie": 0.06,
  "worker.crash": 0.05,
  "cell.crash": 0.05,
  "cell.drains": 0.02,
  "shard.restarts": 0.05,
  /** Every shard of a jurisdiction dies at once; each comes back in its own time. */
  "shard.allDown": 0.02,
  "ledger.crash": 0.04,
  /** An object that nobody reaches for longer than its watchdog waits. */
  "object.isolated": 0.06,
  "net.partition": 0.08,
  "region.loss": 0.02,
  "db.down": 0.03,
  "db.restore": 0.05,
  /** Clocks that are minutes apart, drawn once per node. */
  "clock.skew": 0.3,
} as const;

export type FaultKind = keyof typeof siteFaults | keyof typeof scheduledFaults;

/** Every kind, in the catalogue's order. */
export const faultKinds = [
  ...Object.keys(siteFaults),
  ...Object.keys(scheduledFaults),
] as readonly FaultKind[];
