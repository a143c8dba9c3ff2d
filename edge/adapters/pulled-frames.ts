import { framesAfter, lastSeqOf } from "#shared/conversation/frames.ts";
import type { JournalSegment } from "#shared/conversation/rpc.ts";
import type { PullFinding } from "#shared/conversation/watchdog.ts";
import { outcomeBlockStart, seamBlock } from "#shared/protocol/internal/stream.ts";
import { parseTurnOutcome } from "#shared/protocol/internal/turn-outcome.ts";

/** The frames among `blocks` after `afterSeq`, or null when there are none. */
function segmentOf(blocks: readonly string[], afterSeq: number): JournalSegment | null {
  const text = framesAfter(
    blocks
      .filter((block) => block.startsWith("id: "))
      .map((block) => `${block}\n\n`)
      .join(""),
    afterSeq,
  );
  if (text === "") return null;
  return { fromSeq: afterSeq + 1, toSeq: lastSeqOf(text, afterSeq), text };
}

/**
 * Splits what a cell sent into client frames, the outcome and the terminal frames that follow it; a block that is not whole
 * is left out.
 */
export function readPulledText(
  text: string,
  afterSeq: number,
): Extract<PullFinding, { kind: "frames" }> {
  const whole = text.slice(0, text.lastIndexOf("\n\n") + 2);
  const blocks = whole.split("\n\n").filter((block) => block !== "");
  const outcomeIndex = blocks.findIndex((block) => `${block}\n`.startsWith(outcomeBlockStart));
  const outcomeBlock = blocks[outcomeIndex];
  const outcome =
    outcomeBlock === undefined
      ? null
      : parseTurnOutcome(outcomeBlock.slice(outcomeBlockStart.length + "data: ".length));
  const content = outcome === null ? blocks : blocks.slice(0, outcomeIndex);
  const segment = segmentOf(content, afterSeq);
  const terminal =
    outcome === null ? null : segmentOf(blocks.slice(outcomeIndex + 1), segment?.toSeq ?? afterSeq);
  const seams = blocks.filter((block) => `${block}\n\n` === seamBlock).length;
  return { kind: "frames", segment, terminal, outcome, seams };
}
