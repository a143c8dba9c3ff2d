import { describe, expect, it } from "vitest";
import { readPulledText } from "#edge/adapters/pulled-frames.ts";
import { formatOutcomeBlock, seamBlock } from "#shared/protocol/internal/stream.ts";
import { anOutcome, cellA, turnIdOf } from "#test/support/conversation-builders.ts";

const outcome = anOutcome({
  turnId: turnIdOf("aaaaaaaaaaaa"),
  attempt: 1,
  cell: cellA,
} as Parameters<typeof anOutcome>[0]);
const outcomeText = formatOutcomeBlock(JSON.stringify(outcome));

function frames(fromSeq: number, toSeq: number): string {
  let text = "";
  for (let seq = fromSeq; seq <= toSeq; seq += 1) text += `id: ${seq}\ndata: x\n\n`;
  return text;
}

describe("what an object pulls from a cell", () => {
  it("is frames, the outcome, and the frames that end the stream", () => {
    expect(readPulledText(frames(3, 4) + outcomeText + frames(5, 5), 2)).toEqual({
      kind: "frames",
      segment: { fromSeq: 3, toSeq: 4, text: frames(3, 4) },
      terminal: { fromSeq: 5, toSeq: 5, text: frames(5, 5) },
      outcome,
      seams: 0,
    });
  });

  it("keeps terminal frames apart where nothing else is new", () => {
    expect(readPulledText(outcomeText + frames(3, 3), 2)).toMatchObject({
      segment: null,
      terminal: { fromSeq: 3, toSeq: 3 },
    });
  });

  it("leaves out a block that is not whole, comments, and what the object has", () => {
    const text = `: keep-alive\n\n${frames(1, 3)}id: 4\ndata: cu`;
    expect(readPulledText(text, 2)).toMatchObject({
      segment: { fromSeq: 3, toSeq: 3, text: frames(3, 3) },
      terminal: null,
      outcome: null,
    });
    expect(readPulledText(`${frames(1, 1)}${outcomeText.slice(0, -1)}`, 0).outcome).toBeNull();
    expect(readPulledText("", 0)).toMatchObject({ segment: null, outcome: null });
  });

  it("counts the seams, and takes an outcome that is none for a running turn", () => {
    const text = `${frames(1, 1)}${seamBlock}${frames(2, 2)}${formatOutcomeBlock("{}")}`;
    expect(readPulledText(text, 0)).toMatchObject({
      segment: { toSeq: 2 },
      outcome: null,
      seams: 1,
    });
  });
});
