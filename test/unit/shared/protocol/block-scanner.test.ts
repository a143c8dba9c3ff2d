import { describe, expect, it } from "vitest";
import {
  formatClientFrame,
  formatOutcomeBlock,
  heartbeatBlock,
  seamBlock,
  surplusBlock,
} from "#shared/protocol/internal/stream.ts";
import { BlockScanner, blockBytesMax } from "#shared/protocol/block-scanner.ts";
import type { ScannedBlocks } from "#shared/protocol/block-scanner.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

function frame(seq: number, data = `{"n":${seq},"text":"é🙂"}`): string {
  return formatClientFrame(seq, { event: null, data });
}

function show(blocks: readonly ScannedBlocks[]): unknown[] {
  return blocks.map((block) => {
    if (block.kind === "frames")
      return [block.fromSeq, block.toSeq, decoder.decode(block.bytes)] as const;
    if (block.kind === "outcome") return ["outcome", decoder.decode(block.json)];
    return block.kind === "comment" ? ["comment", decoder.decode(block.bytes)] : block;
  });
}

function pushAll(scanner: BlockScanner, text: string, chunkBytes: number): ScannedBlocks[] {
  const bytes = encoder.encode(text);
  const found: ScannedBlocks[] = [];
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    found.push(...scanner.push(bytes.subarray(at, at + chunkBytes)));
  }
  return found;
}

describe("BlockScanner", () => {
  it("gives all complete frames of a chunk as one view of it", () => {
    const chunk = encoder.encode(frame(1) + frame(2) + frame(3));
    const blocks = new BlockScanner().push(chunk);
    expect(show(blocks)).toEqual([[1, 3, frame(1) + frame(2) + frame(3)]]);
    expect(blocks[0]?.kind === "frames" && blocks[0].bytes.buffer === chunk.buffer).toBe(true);
  });

  const whole = frame(1) + heartbeatBlock + frame(2) + formatOutcomeBlock('{"v":1}') + frame(3);

  it("tells frames, comments and the outcome apart, in order", () => {
    expect(show(new BlockScanner().push(encoder.encode(whole)))).toEqual([
      [1, 1, frame(1)],
      ["comment", heartbeatBlock],
      [2, 2, frame(2)],
      ["outcome", '{"v":1}'],
      [3, 3, frame(3)],
    ]);
  });

  it("reads what a cell marks, and takes no other comment for a mark", () => {
    const marks = `${seamBlock}${surplusBlock(12)}: surplus\n\n: continue\n\n`;
    expect(show(new BlockScanner().push(encoder.encode(marks)))).toEqual([
      { kind: "seam" },
      { kind: "surplus", tokens: 12 },
      ["comment", ": surplus\n\n: continue\n\n"],
    ]);
    const wrong = new BlockScanner().push(encoder.encode(": surplus x\n\n"));
    expect(show(wrong)).toEqual([{ kind: "invalid", reason: "block" }]);
  });

  it("gives the same bytes however the stream is cut", () => {
    for (let size = 1; size <= whole.length; size += 1) {
      const scanner = new BlockScanner();
      const blocks = pushAll(scanner, whole, size);
      const frames = blocks.filter((block) => block.kind === "frames");
      expect(frames.map((block) => decoder.decode(block.bytes)).join("")).toBe(
        frame(1) + frame(2) + frame(3),
      );
      expect(blocks.filter((block) => block.kind === "outcome")).toHaveLength(1);
      expect(scanner.hasIncompleteBlock).toBe(false);
    }
  });

  it("does not change what it gave out when more arrives", () => {
    const scanner = new BlockScanner();
    const blocks = pushAll(scanner, frame(1) + frame(2) + frame(3) + frame(4), 7);
    const text = blocks.map((block) =>
      block.kind === "frames" ? decoder.decode(block.bytes) : "",
    );
    expect(text.join("")).toBe(frame(1) + frame(2) + frame(3) + frame(4));
  });

  it("knows that a block is incomplete", () => {
    const scanner = new BlockScanner();
    scanner.push(encoder.encode(frame(1).slice(0, -1)));
    expect(scanner.hasIncompleteBlock).toBe(true);
  });

  it.each([
    ["a gap", frame(1) + frame(3), "seq"],
    ["a repeated frame", frame(1) + frame(1), "seq"],
    ["a first frame that is not 1", frame(2), "seq"],
    ["an id that is no number", "id: x\ndata: {}\n\n", "block"],
    ["an id of sixteen digits", "id: 1234567890123456\ndata: {}\n\n", "block"],
    ["an id that goes on", "id: 1 \ndata: {}\n\n", "block"],
    ["another event", "event: other\ndata: {}\n\n", "block"],
    ["a bare data block", "data: {}\n\n", "block"],
    ["an empty block", "\n\n", "block"],
    ["HTML", "<html>\n\n</html>\n\n", "block"],
  ])("refuses %s and reads nothing after it", (_name, text, reason) => {
    const scanner = new BlockScanner();
    const blocks = scanner.push(encoder.encode(text));
    expect(blocks.at(-1)).toEqual({ kind: "invalid", reason });
    expect(scanner.push(encoder.encode(frame(2)))).toEqual([]);
  });

  it("goes on from the seq that it was given", () => {
    expect(show(new BlockScanner(41).push(encoder.encode(frame(42))))).toEqual([
      [42, 42, frame(42)],
    ]);
  });

  it("refuses a block that never ends, at its maximum", () => {
    const scanner = new BlockScanner();
    expect(scanner.push(new Uint8Array(blockBytesMax).fill(0x61))).toEqual([]);
    expect(scanner.push(new Uint8Array(1).fill(0x61))).toEqual([
      { kind: "invalid", reason: "tooLong" },
    ]);
  });

  it("reads a block of many chunks in time linear in its bytes", () => {
    const json = "x".repeat(4 * 1024 * 1024);
    const blocks = pushAll(new BlockScanner(), formatOutcomeBlock(json), 1024);
    expect(blocks).toHaveLength(1);
    expect(blocks[0]?.kind === "outcome" && blocks[0].json.length).toBe(json.length);
  });
});
