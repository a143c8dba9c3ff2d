import { describe, expect, test } from "vitest";

import type { KeyImage } from "#dev/upstash/engine.ts";
import { FaultBoard } from "#dev/upstash/faults.ts";
import { Replica, foldChanges } from "#dev/upstash/replica.ts";
import { formatSyncToken, sequenceSeen } from "#dev/upstash/sync-token.ts";

function imageOf(key: string, data: string): KeyImage {
  return { key, value: { type: "string", data }, expiresAtMs: null };
}

describe("a replica", () => {
  test("takes a change over exactly when its lag has passed", async () => {
    let nowMs = 5000;
    const replica = new Replica({
      region: "eu",
      lagMs: 100,
      faults: new FaultBoard(),
      nowMs: () => nowMs,
    });
    replica.receive({
      sequence: 1,
      writtenAtMs: 5000,
      isFlush: false,
      images: [imageOf("k", "v")],
    });
    nowMs = 5099;
    await replica.catchUp();
    expect(replica.sequence).toBe(0);
    nowMs = 5100;
    await replica.catchUp();
    expect(replica.sequence).toBe(1);
    expect(await replica.engine.execute(["GET", "k"])).toBe("v");
  });

  test("ends with the newest state however long it was frozen", async () => {
    const faults = new FaultBoard();
    faults.add({ kind: "freeze" });
    const replica = new Replica({ region: "eu", lagMs: 0, faults, nowMs: () => 0 });
    for (let sequence = 1; sequence <= 5000; sequence += 1) {
      const images = [imageOf(`k${sequence % 7}`, String(sequence))];
      replica.receive({ sequence, writtenAtMs: 0, isFlush: false, images });
    }
    await replica.catchUp();
    expect(await replica.engine.listKeys()).toEqual([]);
    faults.clear({});
    await replica.catchUp();
    expect(replica.sequence).toBe(5000);
    expect(await replica.engine.execute(["MGET", "k1", "k2", "k3"])).toEqual([
      "4999",
      "5000",
      "4994",
    ]);
  });
});

describe("folding changes", () => {
  test("keeps the last state of each key, and nothing from before a flush", () => {
    const at = { writtenAtMs: 0, isFlush: false };
    const changes = [
      { ...at, sequence: 1, images: [imageOf("a", "1"), imageOf("b", "1")] },
      { ...at, sequence: 2, images: [], isFlush: true },
      { ...at, sequence: 3, images: [imageOf("a", "3"), imageOf("c", "3")] },
      { ...at, sequence: 4, images: [imageOf("a", "4")] },
    ];
    expect(foldChanges(changes)).toEqual([
      { ...at, sequence: 2, images: [], isFlush: true },
      { ...at, sequence: 3, images: [imageOf("c", "3")] },
      { ...at, sequence: 4, images: [imageOf("a", "4")] },
    ]);
  });
});

describe("a sync token", () => {
  test("tells how far its holder has seen, within one run of the server", () => {
    const token = formatSyncToken({ run: "abc", sequence: 12 });
    expect(sequenceSeen(token, "abc")).toBe(12);
    expect(sequenceSeen(token, "def")).toBe(0);
  });

  test("counts for nothing when it is missing or unreadable", () => {
    for (const token of [
      undefined,
      "",
      "abc",
      "abc:",
      "abc:-1",
      "abc:1e9",
      `abc:${"9".repeat(16)}`,
    ]) {
      expect(sequenceSeen(token, "abc")).toBe(0);
    }
  });
});
