import fc from "fast-check";
import { describe, it } from "vitest";
import { createBufferBudget } from "#regional/turns/buffer-budget.ts";
import { createFrameLog } from "#regional/turns/frame-log.ts";
import type { Cursor, FrameLog } from "#regional/turns/frame-log.ts";

const frame = (data: string) => ({ event: null, data });

function readAll(log: FrameLog, after: number): string {
  let cursor: Cursor = { seq: after, seams: 0, surplusTokens: 0, hasOutcome: false };
  let text = "";
  for (;;) {
    const chunk = log.read(cursor);
    if (chunk === null) return text;
    text += Buffer.from(chunk.bytes).toString("utf8");
    cursor = chunk.cursor;
    if (chunk.isEnd) return text;
  }
}

describe("the frame log", () => {
  it("gives every reader the same bytes from its seq on, the outcome before the terminal frames", ({
    expect,
  }) => {
    const log = createFrameLog(createBufferBudget(10_000), 10_000);
    log.append([frame("a"), frame("b")]);
    log.end("{}", [frame("[DONE]")]);
    const outcome = "event: meridian.outcome\ndata: {}\n\n";
    expect(readAll(log, 0)).toBe(
      `id: 1\ndata: a\n\nid: 2\ndata: b\n\n${outcome}id: 3\ndata: [DONE]\n\n`,
    );
    expect(readAll(log, 2)).toBe(`${outcome}id: 3\ndata: [DONE]\n\n`);
    expect(readAll(log, 3)).toBe(outcome);
  });

  it("tells a reader that has read all frames of seams and of tokens beyond the pieces, once", ({
    expect,
  }) => {
    const log = createFrameLog(createBufferBudget(10_000), 10_000);
    log.markSeam();
    log.markSurplus(3);
    log.append([frame("a")]);
    expect(readAll(log, 0)).toBe(": continued\n\nid: 1\ndata: a\n\n: surplus 3\n\n");
    log.append([frame("b")]);
    expect(readAll(log, 1)).toBe(": continued\n\nid: 2\ndata: b\n\n: surplus 3\n\n");
  });

  it("holds bytes to its bound, refuses the next, and still takes its end", ({ expect }) => {
    const bytes = Buffer.byteLength("id: 1\ndata: é\n\n");
    const log = createFrameLog(createBufferBudget(1_000), bytes);
    expect(log.append([frame("é")])).toBe(true);
    expect(log.append([frame("e")])).toBe(false);
    expect(log.lastSeq()).toBe(1);
    log.end("{}", [frame("x")]);
    expect(readAll(log, 1)).toContain("id: 2\ndata: x");
  });

  it("gives all its bytes back to the cell's budget", ({ expect }) => {
    const budget = createBufferBudget(100);
    const log = createFrameLog(budget, 1_000);
    log.append([frame("a"), frame("b")]);
    log.acknowledge(1);
    log.end("x".repeat(500), []);
    expect(budget.hasRoom()).toBe(false);
    log.clear();
    expect(budget.usedBytes()).toBe(0);
    expect(budget.hasRoom()).toBe(true);
  });

  it("drops acknowledged frames only, and never the outcome", ({ expect }) => {
    const log = createFrameLog(createBufferBudget(10_000), 10_000);
    log.append([frame("a"), frame("b")]);
    log.acknowledge(1);
    expect(log.firstReadableAfter()).toBe(1);
    log.end("{}", [frame("c")]);
    log.acknowledge(99);
    expect(log.firstReadableAfter()).toBe(2);
    expect(readAll(log, 2)).toBe("event: meridian.outcome\ndata: {}\n\nid: 3\ndata: c\n\n");
  });

  it("wakes who waits when something is added, dropped or ended", async ({ expect }) => {
    const log = createFrameLog(createBufferBudget(10_000), 10_000);
    const added = log.changed();
    log.append([frame("a")]);
    await added;
    const dropped = log.changed();
    log.acknowledge(1);
    await dropped;
    const ended = log.changed();
    log.end("{}", []);
    await ended;
    expect(log.read({ seq: 1, seams: 0, surplusTokens: 0, hasOutcome: true })?.isEnd).toBe(true);
  });

  it("replays the rest of the whole from any seq, however frames, acknowledgements and the end are mixed", () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.string({ maxLength: 4 }), { maxLength: 3 }), { maxLength: 10 }),
        fc.nat(20),
        (batches, acknowledged) => {
          const whole = createFrameLog(createBufferBudget(1e6), 1e6);
          const log = createFrameLog(createBufferBudget(1e6), 1e6);
          const data = (text: string) => frame(JSON.stringify(text));
          for (const batch of batches) {
            whole.append(batch.map(data));
            log.append(batch.map(data));
          }
          log.acknowledge(acknowledged);
          for (const each of [whole, log]) each.end("{}", [frame("[DONE]")]);
          log.acknowledge(acknowledged);
          for (let after = log.firstReadableAfter(); after <= log.lastSeq(); after += 1) {
            if (readAll(log, after) !== readAll(whole, after)) return false;
          }
          return true;
        },
      ),
    );
  });
});
