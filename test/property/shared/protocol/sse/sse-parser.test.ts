import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createSseParser } from "#shared/protocol/sse/sse-parser.ts";
import type { SseEvent } from "#shared/protocol/sse/sse-parser.ts";

const lineText = fc
  .string({
    unit: fc.oneof(
      fc.string({ unit: "binary", maxLength: 1 }),
      fc.constantFrom(":", " ", "\u2028", "\uFEFF", "data: "),
    ),
  })
  .map((text) => text.replaceAll(/[\r\n]/g, ""));
const end = fc.constantFrom("\n", "\r\n", "\r");
const comment = lineText.map((text) => `:${text}`);
const event = fc.record({
  name: fc.option(lineText),
  lines: fc.array(lineText, { minLength: 1, maxLength: 4 }),
});

/** Events, as a server may write them: any line end, comments between. */
const stream = fc.array(fc.tuple(event, comment, end), { maxLength: 8 }).map((parts) => ({
  text: parts
    .map(([{ name, lines }, note, eol]) =>
      [
        note,
        ...(name === null ? [] : [`event: ${name}`]),
        ...lines.map((line) => `data: ${line}`),
        "",
        "",
      ].join(eol),
    )
    .join(""),
  events: parts.map(([{ name, lines }]): SseEvent => ({ event: name, data: lines.join("\n") })),
}));
const cuts = fc.array(fc.nat(), { maxLength: 12 });

function cutAt(text: string, places: readonly number[]): readonly string[] {
  const sorted = places.map((place) => place % (text.length + 1)).toSorted((a, b) => a - b);
  return [0, ...sorted].map((from, index) => text.slice(from, sorted[index] ?? text.length));
}

describe("the SSE parser", () => {
  it("reads what any server writes, cut anywhere", () => {
    fc.assert(
      fc.property(stream, cuts, ({ text, events }, places) => {
        const parser = createSseParser();
        // A LF may follow a CR that ends one event: events of different line ends are kept apart by their comments.
        const read = cutAt(text, places).flatMap((piece) => parser.push(piece).events);
        expect(read).toEqual(events);
      }),
    );
  });

  it("says the same of any text, however it is cut, limits included", () => {
    const limits = { lineCharactersMax: 24, eventCharactersMax: 24 };
    const unit = fc.constantFrom(
      "data",
      "event",
      "id",
      ":",
      " ",
      "\n",
      "\r",
      "\r\n",
      "x",
      "🙂",
      "\n\n",
    );
    fc.assert(
      fc.property(fc.string({ unit, maxLength: 60 }), cuts, (text, places) => {
        const whole = createSseParser(limits);
        const first = whole.push(text);
        const parser = createSseParser(limits);
        const events: SseEvent[] = [];
        let isOk = true;
        for (const piece of cutAt(text, places)) {
          const next = parser.push(piece);
          events.push(...next.events);
          isOk = next.ok;
        }
        expect({ isOk, events }).toEqual({ isOk: first.ok, events: first.events });
      }),
      { numRuns: 500 },
    );
  });
});
