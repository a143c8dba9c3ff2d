import type { ScalingStore } from "../ports/scaling-store.ts";

/** Times of a lease, ms. */
export interface LeasePolicy {
  /** Of the database's clock. */
  readonly leaseMs: number;
  readonly renewMs: number;
  /** The holder stops so long before its lease ends: for clocks that run apart, and for calls that are still on their way. */
  readonly marginMs: number;
  /** Time for the database to answer. */
  readonly callMs: number;
}

/** A region without a leader for 20 s is scaled 20 s later; clocks that differ by a third of a lease are broken (our choices). */
export const defaultLeasePolicy: LeasePolicy = {
  leaseMs: 20_000,
  renewMs: 4_000,
  marginMs: 7_000,
  callMs: 2_000,
};

/** A lease while it may be acted on. */
export interface HeldLease {
  readonly token: number;
  /** From then on nothing is done under it, ms of the monotonic clock. */
  readonly untilMs: number;
}

/** Holds a region's lease, or tries to. */
export interface LeaseKeeper {
  /** Takes or renews the lease if that is due; resolves with it while it may be acted on. Never rejects. */
  renew(): Promise<HeldLease | null>;
  /** The lease, if it may still be acted on. */
  current(): HeldLease | null;
  /** A sink has seen a later one: nothing is done any more until the database gives another. */
  lose(): void;
  release(): Promise<void>;
}

export interface LeaseKeeperOptions {
  readonly store: Pick<ScalingStore, "acquire" | "release">;
  /** Of this process alone: another boot of the cell is another holder. */
  readonly holder: string;
  /** Wall clock, for the database's deadlines. */
  readonly nowMs: () => number;
  /** Never set back or forward; the only clock that the lease is measured with. */
  readonly monotonicMs: () => number;
  readonly policy: LeasePolicy;
}

/**
 * The lease is counted from before it was asked for, and ends early by a margin: the database counts it from later on, so that
 * the next holder cannot begin before this one has stopped, whatever their clocks show. An answer that does not come changes
 * nothing: the lease runs out.
 */
export function createLeaseKeeper(options: LeaseKeeperOptions): LeaseKeeper {
  const { holder, monotonicMs, nowMs, policy, store } = options;
  let held: HeldLease | null = null;
  let askedAtMs = -Infinity;

  function current(): HeldLease | null {
    return held !== null && monotonicMs() < held.untilMs ? held : null;
  }

  return {
    async renew() {
      const sentAtMs = monotonicMs();
      if (sentAtMs - askedAtMs < policy.renewMs) return current();
      askedAtMs = sentAtMs;
      const answer = await store.acquire(holder, policy.leaseMs, nowMs() + policy.callMs);
      if (answer === "held") held = null;
      else if (answer !== "unavailable") {
        held = { token: answer.token, untilMs: sentAtMs + policy.leaseMs - policy.marginMs };
      }
      return current();
    },
    current,
    lose() {
      held = null;
    },
    async release() {
      if (held === null) return;
      held = null;
      await store.release(holder, nowMs() + policy.callMs);
    },
  };
}
