import type { Kernel } from "../kernel.ts";
import type { Process } from "../process.ts";
import type { Faults } from "../faults/faults.ts";
import type { Recorder } from "../checkers/recorder.ts";

/** What became of a call. `lost`: the connection broke; whether the call ran is unknown. */
export type CallResult<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly failure: "lost" | "timeout" };

/** One call from a process to another. */
export interface Call<Value> {
  readonly from: Process;
  /** Who is at the address when the call comes; null: nobody. */
  readonly to: () => Process | null;
  readonly toName: string;
  readonly toZone: string;
  readonly kind: string;
  /** All text of the call, for the residency check; made only where it is looked at. */
  readonly content: () => string;
  readonly handle: (at: Process, sentAtMs: number) => Promise<Value> | Value;
  readonly timeoutMs: number;
  /** A client's connection: TCP carries its request once. */
  readonly isOnce?: boolean;
}

/** The network: delay, loss, copies, reordering, partitions. Every message passes here, and is searched where it leaves its zone. */
export class Network {
  readonly kernel: Kernel;
  readonly faults: Faults;
  readonly recorder: Recorder;

  constructor(kernel: Kernel, faults: Faults, recorder: Recorder) {
    this.kernel = kernel;
    this.faults = faults;
    this.recorder = recorder;
  }

  delayMs(): number {
    const random = this.kernel.random("network");
    const base = 0.2 + random.unit() * 4;
    return this.faults.fires("net.delay") ? base + random.unit() * 2_000 : base;
  }

  /** Whether messages from one node to the other get through now. */
  connects(from: string, to: string): boolean {
    return !this.faults.isPartitioned(from, to);
  }

  /** Searches what crosses a border. */
  inspect(from: Process, toZone: string, toName: string, content: () => string): void {
    if (from.zone !== toZone) this.recorder.border(from, toName, toZone, content());
  }

  /** Resolves when the answer came or the caller knows that none will; never when the caller dies. */
  call<Value>(call: Call<Value>): Promise<CallResult<Value>> {
    const { kernel, faults } = this;
    const { from, kind } = call;
    this.inspect(from, call.toZone, call.toName, call.content);
    return new Promise((resolve) => {
      let isOver = false;
      let stopMourning = (): unknown => undefined;
      const end = (result: CallResult<Value>): void => {
        if (isOver) return;
        isOver = true;
        timer.run = null;
        stopMourning();
        resolve(result);
      };
      const timer = kernel.at(call.timeoutMs, from, `${kind}.timeout`, () =>
        end({ ok: false, failure: "timeout" }),
      );
      const fail = (): void => {
        kernel.at(this.delayMs(), from, `${kind}.lost`, () => end({ ok: false, failure: "lost" }));
      };
      const sentAtMs = kernel.nowMs;
      const deliver = (isFirst: boolean): void => {
        const at = call.to();
        if (at === null || !at.isAlive) return fail();
        if (isFirst) stopMourning = at.onDeath(fail);
        const answered = (value: Value): void => {
          if (!at.isAlive) return;
          if (faults.fires("net.lostReply")) {
            if (faults.loses()) fail();
            return;
          }
          if (!this.connects(at.name, from.name)) return;
          kernel.at(this.delayMs(), from, `${kind}.reply`, () => end({ ok: true, value }));
        };
        // What throws is a platform's failure: the caller learns that the connection is gone.
        void Promise.resolve(call.handle(at, sentAtMs)).then(answered, fail);
      };
      if (!this.connects(from.name, call.toName)) return;
      if (faults.fires("net.loss")) {
        if (faults.loses()) fail();
        return;
      }
      kernel.at(this.delayMs(), null, `${kind}>${call.toName}`, () => deliver(true));
      if (call.isOnce !== true && faults.fires("net.duplicate")) {
        kernel.at(this.delayMs() * 3 + 1, null, `${kind}>>${call.toName}`, () => deliver(false));
      }
    });
  }
}
