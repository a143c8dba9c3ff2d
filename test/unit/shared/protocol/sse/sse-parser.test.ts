import { afterEach, describe, expect, it, vi } from "vitest";
import { createSseParser } from "#shared/protocol/sse/sse-parser.ts";
import type { SseEvent, SseLimits, SsePush } from "#shared/protocol/sse/sse-parser.ts";

/** Feeds pieces one after the other; what the last push said, with the events of all of them. */
function parse(pieces: readonly string[], limits?: SseLimits): SsePush {
  const parser = createSseParser(limits);
  const events: SseEvent[] = [];
  let last: SsePush = { ok: true, events };
  for (const piece of pieces) {
    last = parser.push(piece);
    events.push(...last.events);
  }
  return { ...last, events };
}

function data(...texts: readonly string[]): SsePush {
  return { ok: true, events: texts.map((text) => ({ event: null, data: text })) };
}

/** Text → what it says; each also cut at every character. */
const corpus: readonly (readonly [string, string, SsePush])[] = [
  ["LF", "data: a\n\ndata: b\n\n", data("a", "b")],
  ["CR LF", "data: a\r\n\r\ndata: b\r\n\r\n", data("a", "b")],
  ["CR alone", "data: a\r\rdata: b\r\r\n", data("a", "b")],
  [
    "line ends of every kind in one stream",
    "data: a\r\n\rdata: b\n\r\ndata: c\r\n\n",
    data("a", "b", "c"),
  ],
  ["a byte order mark at the start", "\uFEFFdata: a\n\n", data("a")],
  ["a byte order mark inside data", "data: \uFEFFa\n\n", data("\uFEFFa")],
  ["no space after the colon, and two", "data:a\n\ndata:  b\n\n", data("a", " b")],
  ["data of several lines", "data: a\ndata:\ndata: b\n\n", data("a\n\nb")],
  ["a field without a colon", "data\n\n", data("")],
  ["comments, id and retry", ": hello\nid: 4\nretry: 10\ndata: a\nid\n\n", data("a")],
  ["empty lines without data", "\n\n\r\n: x\n\nid: 1\n\n", data()],
  [
    "an event name, for one event only",
    "event: error\ndata: a\n\ndata: b\n\n",
    {
      ok: true,
      events: [
        { event: "error", data: "a" },
        { event: null, data: "b" },
      ],
    },
  ],
  ["an event name without data", "event: error\n\ndata: b\n\n", data("b")],
  [
    "line separators that are none of SSE's",
    "data: a\u2028\u0085\u000b\u000cb\n\n",
    data("a\u2028\u0085\u000b\u000cb"),
  ],
  ["characters of two code units", "data: 🙂é漢\n\n", data("🙂é漢")],
  ["an event that has no end", "data: a\n\ndata: b\n", data("a")],
  ["a line that has no end", "data: a\n\ndata: b", data("a")],
];

describe("the SSE parser", () => {
  it.each(corpus)("reads %s, cut anywhere", (_, text, expected) => {
    expect(parse([text])).toEqual(expected);
    expect(parse(text.split("").flatMap((character) => ["", character]))).toEqual(expected);
    for (let cut = 0; cut <= text.length; cut += 1) {
      expect(parse([text.slice(0, cut), text.slice(cut)])).toEqual(expected);
    }
  });

  it.each([
    ["HTML", "<!doctype html>\n<html>\n"],
    ["a JSON document", '{"error": {"message": "no"}}\n'],
    ["a damaged field name", 'dat a: {"x": 1}\n'],
    ["a field with a space before its colon", "data : a\n"],
    ["a field in capitals", "DATA: a\n"],
  ])("refuses %s, and everything after it", (_, text) => {
    const parser = createSseParser();
    expect(parser.push(`data: a\n\n${text}data: b\n\n`)).toEqual({
      ok: false,
      events: [{ event: null, data: "a" }],
      reason: "unknownField",
    });
    expect(parser.push("data: c\n\n")).toEqual({ ok: false, events: [], reason: "unknownField" });
  });

  describe("with limits", () => {
    const limits = { lineCharactersMax: 10, eventCharactersMax: 9 };
    const tooLong = (...events: string[]) => ({ ...data(...events), ok: false, reason: "tooLong" });

    it.each([
      ["a line at the limit", ": 34567890\n", data()],
      ["a line one past it", ": 345678901\n", tooLong()],
      ["a line without end at the limit", ": 34567890", data()],
      ["a line without end one past it", ": 345678901", tooLong()],
      ["data at the limit, its line feeds counted", "data:1234\ndata:6789\n\n", data("1234\n6789")],
      ["data one past it", "data:12345\ndata:7890\n\n", tooLong()],
      ["data of empty lines at the limit", `${"data\n".repeat(10)}\n`, data("\n".repeat(9))],
      ["data of empty lines one past it", `${"data\n".repeat(11)}\n`, tooLong()],
      [
        "two events of which each is at the limit",
        "data:12345\n\ndata:12345\n\n",
        data("12345", "12345"),
      ],
      ["what is whole before the line that is too long", "data: a\n\n: 345678901", tooLong("a")],
    ])("reads or refuses %s, cut anywhere", (_, text, expected) => {
      expect(parse([text], limits)).toEqual(expected);
      for (let cut = 0; cut < text.length; cut += 1) {
        const parser = createSseParser(limits);
        const first = parser.push(text.slice(0, cut));
        const events = [...first.events];
        const last = parser.push(text.slice(cut));
        expect({ ...last, events: [...events, ...last.events] }).toEqual(expected);
      }
    });

    it("refuses whatever follows a line that was too long", () => {
      const parser = createSseParser(limits);
      parser.push(": 345678901");
      expect(parser.push("\n\ndata: a\n\n")).toEqual(tooLong());
    });

    it("refuses an endless line after the limit, not after the line (F-53)", () => {
      const parser = createSseParser({ lineCharactersMax: 1_000, eventCharactersMax: 1_000 });
      const pushes = Array.from({ length: 5 }, () => parser.push("x".repeat(300)).ok);
      expect(pushes).toEqual([true, true, true, false, false]);
    });

    it("has no room for anything at zero", () => {
      const none = { lineCharactersMax: 0, eventCharactersMax: 0 };
      expect(parse(["\n\n"], none)).toEqual(data());
      expect(parse(["d"], none)).toEqual(tooLong());
    });
  });

  describe("in linear time", () => {
    afterEach(() => {
      vi.restoreAllMocks();
    });

    /** Characters that searches look at while `pieces` are read. */
    function searched(pieces: readonly string[]): number {
      const parser = createSseParser();
      // oxlint-disable-next-line typescript/unbound-method -- called with its own `this` below
      const indexOf = String.prototype.indexOf;
      let characters = 0;
      const spy = vi.spyOn(String.prototype, "indexOf").mockImplementation(function count(
        this: string,
        search: string,
        from = 0,
      ) {
        const found = indexOf.call(this, search, from);
        characters += (found < 0 ? this.length : found + 1) - from;
        return found;
      });
      for (const piece of pieces) parser.push(piece);
      spy.mockRestore();
      return characters;
    }

    const line = "data: x\n";
    const event = `${line}\n`;
    it.each([
      ["many events in one chunk", [event.repeat(2_000)]],
      ["many events with CR in one chunk", [event.replaceAll("\n", "\r").repeat(2_000)]],
      ["LF first, then CR", [event.repeat(1_000) + "data: x\r\r".repeat(1_000)]],
      ["one line in many chunks", `data: ${"x".repeat(20_000)}\n\n`.split("")],
      ["one event of many lines", [`${line.repeat(2_000)}\n`]],
      ["every character alone", event.repeat(2_000).split("")],
    ])("%s", (_, pieces) => {
      const { length } = pieces.join("");
      expect(searched(pieces)).toBeLessThanOrEqual(4 * length);
    });
  });
});
