import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createJsonLinesReframing } from "#regional/backends/sagemaker/json-lines.ts";

function reframed(pieces: readonly string[]): string {
  const reframing = createJsonLinesReframing();
  return pieces.map((piece) => reframing.push(piece)).join("") + reframing.end();
}

/** The text cut at these places. */
function cut(text: string, places: readonly number[]): string[] {
  const at = [0, ...places.map((place) => place % (text.length + 1)), text.length].toSorted(
    (left, right) => left - right,
  );
  return at.slice(1).map((end, index) => text.slice(at[index], end));
}

const places = fc.array(fc.nat({ max: 1_000 }), { maxLength: 8 });

describe("a stream of JSON lines", () => {
  it("becomes one of events, wherever it is cut", () => {
    fc.assert(
      fc.property(places, (cuts) => {
        const text = '\n{"a":"x\\ny"}\r\n\n{"b":"🙂"}\n';
        expect(reframed(cut(text, cuts))).toBe(
          'data: {"a":"x\\ny"}\n\ndata: {"b":"🙂"}\n\ndata: [DONE]\n\n',
        );
      }),
    );
  });

  it("has its last line without an end of line", () => {
    expect(reframed(['{"a":1}'])).toBe('data: {"a":1}\n\ndata: [DONE]\n\n');
  });

  it("says nothing when nothing came", () => {
    expect(reframed(["", "\n \n"])).toBe("");
  });
});

describe("a stream of events", () => {
  it("is left as it is, wherever it is cut", () => {
    fc.assert(
      fc.property(places, (cuts) => {
        const text = '\n: open\n\ndata: {"a":1}\n\ndata: [DONE]\n\n';
        expect(reframed(cut(text, cuts))).toBe(text);
      }),
    );
  });
});
