import type { Priority } from "#shared/config/topology.ts";
import { defaultQueuePolicy } from "#shared/admission/queue-policy.ts";
import { classes } from "./workload.ts";

/** Requests that no shard may take now, by class. The highest class goes first; within one, first in, first out. */
export interface WaitingRoom {
  size(): number;
  /** Whether somebody of the class or a higher one waits already. */
  isAhead(priority: Priority): boolean;
  enter(id: number, priority: Priority, nowMs: number): void;
  /** Expires who waited too long, then dispatches from the top until a class's first finds no shard. */
  drain(nowMs: number, act: WaitingActs): void;
}

/** What is done with those who wait. */
export interface WaitingActs {
  readonly expire: (id: number) => void;
  /** False: no shard may take it now. */
  readonly tryDispatch: (id: number) => boolean;
}

interface Line {
  readonly priority: Priority;
  /** The first is at `head`: what lies before has left. */
  waiting: { readonly id: number; readonly untilMs: number }[];
  head: number;
}

/** Makes an empty room; a class waits as long as the product's queue lets it. */
export function createWaitingRoom(): WaitingRoom {
  const { waitMsMax } = defaultQueuePolicy;
  const lines: readonly Line[] = classes.map((priority) => ({ priority, waiting: [], head: 0 }));
  let count = 0;

  function leave(line: Line): void {
    line.head += 1;
    count -= 1;
    if (line.head < 1_024 && line.head < line.waiting.length) return;
    line.waiting = line.waiting.slice(line.head);
    line.head = 0;
  }

  return {
    size: () => count,
    isAhead(priority) {
      for (const line of lines) {
        if (line.waiting.length > line.head) return true;
        if (line.priority === priority) return false;
      }
      return false;
    },
    enter(id, priority, nowMs) {
      const line = lines.find((one) => one.priority === priority);
      line?.waiting.push({ id, untilMs: nowMs + waitMsMax[priority] });
      count += 1;
    },
    drain(nowMs, { expire, tryDispatch }) {
      for (const line of lines) {
        for (let one = line.waiting[line.head]; one !== undefined; one = line.waiting[line.head]) {
          if (one.untilMs <= nowMs) expire(one.id);
          else if (!tryDispatch(one.id)) break;
          leave(line);
        }
      }
    },
  };
}
