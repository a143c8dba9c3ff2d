import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createLineWriter } from "#regional/adapters/line-writer.ts";

function begin() {
  const writes: string[] = [];
  return { writes, write: createLineWriter((lines) => writes.push(lines)) };
}

describe("the writer of the cell's log", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("writes lines of 20 ms together", () => {
    const { write, writes } = begin();
    write("one\n", false);
    vi.advanceTimersByTime(19);
    write("two\n", false);
    expect(writes).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(writes).toEqual(["one\ntwo\n"]);
    vi.advanceTimersByTime(100);
    write("three\n", false);
    vi.advanceTimersByTime(20);
    expect(writes).toEqual(["one\ntwo\n", "three\n"]);
  });

  it("writes an urgent line at once, after those before it, and nothing twice", () => {
    const { write, writes } = begin();
    write("one\n", false);
    write("two\n", true);
    expect(writes).toEqual(["one\ntwo\n"]);
    vi.advanceTimersByTime(100);
    expect(writes).toHaveLength(1);
  });

  it("keeps no more than 64 KiB waiting", () => {
    const { write, writes } = begin();
    for (let count = 0; count < 1_000; count += 1) write("x".repeat(99), false);
    expect(writes).toHaveLength(1);
    vi.advanceTimersByTime(20);
    expect(writes.join("")).toHaveLength(99_000);
  });
});
