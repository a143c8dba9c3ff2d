import { describe, expect, it } from "vitest";
import {
  attachTo,
  beginRead,
  isPastRestart,
  readJournaled,
  readLive,
} from "#shared/conversation/stream-read.ts";

const first = { attempt: 1, restartedAfterSeq: null };

describe("a reader of a running turn", () => {
  it("is given what the journal has beyond it", () => {
    const step = readJournaled(beginRead(2, 1), first, "three four ", 4);
    expect(step).toStrictEqual({
      kind: "follows",
      rest: "three four ",
      read: { seq: 4, verifiedSeq: 4, unverified: "", attempt: 1 },
    });
  });

  it("is given only the rest of what it has heard live in part", () => {
    const live = readLive(beginRead(2, 1), "three ", 3);
    expect(live).toMatchObject({ seq: 3, verifiedSeq: 2 });
    const step = readJournaled(live, first, "three four ", 4);
    expect(step).toMatchObject({ rest: "four ", read: { seq: 4, verifiedSeq: 4, unverified: "" } });
  });

  it("keeps what the journal has not confirmed yet, and is given nothing twice", () => {
    const live = readLive(readLive(beginRead(0, 1), "one ", 1), "two ", 2);
    const step = readJournaled(live, first, "one ", 1);
    expect(step).toMatchObject({ rest: "", read: { seq: 2, verifiedSeq: 1, unverified: "two " } });
  });

  it("is told when the journal has another text than it was shown", () => {
    const live = readLive(beginRead(0, 1), "one TWO ", 2);
    expect(readJournaled(live, { ...first, attempt: 2 }, "one two ", 2).kind).toBe("diverged");
  });

  it("is told when its turn was begun again before what it has", () => {
    const live = readLive(beginRead(0, 1), "one ", 1);
    const again = { attempt: 2, restartedAfterSeq: 0 };
    expect(readJournaled(live, again, "", 0).kind).toBe("diverged");
    expect(readJournaled(beginRead(0, 1), again, "", 0).kind).toBe("follows");
    expect([isPastRestart(again, 1), isPastRestart(again, 0)]).toStrictEqual([true, false]);
    expect(isPastRestart(first, 9)).toBe(false);
  });

  it("goes on with another cell only once the journal has what the lost one gave", () => {
    const live = readLive(beginRead(0, 1), "one ", 1);
    expect(attachTo(live, 2)).toBeNull();
    expect(attachTo(live, 1)).toBe(live);
    const step = readJournaled(live, { ...first, attempt: 2 }, "one ", 1);
    if (step.kind !== "follows") throw new Error("diverged");
    expect(attachTo(step.read, 2)).toMatchObject({ seq: 1, attempt: 2 });
  });
});
