import { describe, expect, test } from "vitest";
import { createAnswerPieces } from "#dev/gguf-engine/answer-pieces.ts";
import type { AnswerPiece } from "#dev/gguf-engine/answer-pieces.ts";

/** Tokens are bytes, as the byte tokens of a vocabulary are. */
function detokenize(tokens: readonly number[]): string {
  return Buffer.from(tokens).toString("utf8");
}

function piecesOf(text: string | Buffer, stops: readonly string[] = []) {
  const pieces = createAnswerPieces([1, 2], stops, detokenize);
  const given: AnswerPiece[] = [];
  for (const byte of Buffer.from(text)) {
    const piece = pieces.push(byte);
    if (piece === null) continue;
    given.push(piece);
    if (piece.stop !== null) return given;
  }
  return [...given, pieces.flush()];
}

function textOf(given: readonly AnswerPiece[]): string {
  return given.map(({ text }) => text).join("");
}

describe("an answer's pieces", () => {
  test("are whole characters, each with the tokens that it was made of", () => {
    const given = piecesOf("aß🙂.");
    expect(given.map(({ text }) => text)).toEqual(["a", "ß", "🙂", ".", ""]);
    expect(given.map(({ tokenIds }) => tokenIds.length)).toEqual([1, 2, 4, 1, 0]);
  });

  test("hold bytes that are no character back no longer than a character can be", () => {
    const given = piecesOf(Buffer.from([0xff, 0xfe, 0xfd, 0xfc, 0x61]));
    expect(given[0]?.tokenIds).toHaveLength(4);
    expect(textOf(given)).toBe("\uFFFD\uFFFD\uFFFD\uFFFDa");
  });

  test("give half a character at the end as what it is", () => {
    expect(textOf(piecesOf(Buffer.from([0x61, 0xf0, 0x9f])))).toMatch(/^a\uFFFD+$/);
  });

  test("end before the first stop string, and hold back what may become one", () => {
    const given = piecesOf("one STO two STOP three", ["STOP", "three"]);
    expect(textOf(given)).toBe("one STO two ");
    expect(given.at(-1)?.stop).toBe("STOP");
    expect(given.every(({ text }) => !/S$|ST$/.test(text) || text.includes("STO "))).toBe(true);
  });

  test("give what was held back for a stop string that did not come", () => {
    expect(textOf(piecesOf("one STO", ["STOP"]))).toBe("one STO");
  });

  test("name every token once", () => {
    const text = "one STO ß 🙂 two";
    const ids = piecesOf(text, ["STOP"]).flatMap(({ tokenIds }) => tokenIds);
    expect(ids).toEqual([...Buffer.from(text)]);
  });
});
