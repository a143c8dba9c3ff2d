import type { Reframing } from "../feed-stream.ts";

/** Longest line that is put together, characters: longer than any chunk of an answer with all its log probabilities. */
const lineCharactersMax = 8 * 1024 * 1024;

/**
 * Some LMI containers stream one JSON document a line in place of SSE (DJL LMI, output formatter `jsonlines`). The first
 * character that is no space decides; SSE passes through. A clean end of such lines stands for `[DONE]`: whether every choice
 * has its finish reason is asked of the answer as always.
 */
export function createJsonLinesReframing(): Reframing {
  let kind: "unknown" | "lines" | "sse" = "unknown";
  let pending = "";

  function framed(): string {
    const lines = pending.split("\n");
    pending = lines.pop() ?? "";
    // A line without an end is an event that the reader refuses for its length.
    if (pending.length > lineCharactersMax) {
      lines.push(pending);
      pending = "";
    }
    return lines
      .map((line) => line.trim())
      .filter((line) => line !== "")
      .map((line) => `data: ${line}\n\n`)
      .join("");
  }

  return {
    push(text) {
      if (kind === "sse") return text;
      pending += text;
      if (kind === "unknown") {
        const first = pending.trimStart()[0];
        if (first === undefined) return "";
        kind = first === "{" ? "lines" : "sse";
      }
      if (kind === "lines") return framed();
      const all = pending;
      pending = "";
      return all;
    },
    end() {
      if (kind !== "lines") return "";
      pending += "\n";
      return `${framed()}data: [DONE]\n\n`;
    },
  };
}
