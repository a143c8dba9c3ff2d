import { describe, it } from "vitest";
import { awkwardPieces } from "#dev/simulated-engine/http/exchange.ts";
import { createFaultBook, parseFault } from "#dev/simulated-engine/http/faults.ts";

describe("faults", () => {
  it("hits as many requests as its count, then no more", ({ expect }) => {
    const book = createFaultBook(() => 0);
    book.add({ kind: "cut", count: 2 });
    expect([1, 2, 3].map(() => book.take(true)?.kind)).toEqual(["cut", "cut", undefined]);
    expect(book.list()).toEqual([]);
  });
  it("hits prompts only, unless its scope is all", ({ expect }) => {
    const book = createFaultBook(() => 0);
    book.add({ kind: "refuse" });
    expect(book.take(false)).toBeUndefined();
    book.add({ kind: "status-500", scope: "all" });
    expect(book.take(false)?.kind).toBe("status-500");
  });
  it("strikes with its probability", ({ expect }) => {
    let next = 0;
    const book = createFaultBook(() => next);
    book.add({ kind: "cut", probability: 0.3 });
    expect(book.take(true)?.kind).toBe("cut");
    next = 0.3;
    expect(book.take(true)).toBeUndefined();
  });
  it("lies of the load as long as it is there, beside another fault", ({ expect }) => {
    const book = createFaultBook(() => 0);
    expect(book.takeLie()).toBeUndefined();
    book.add({ kind: "lie" });
    book.add({ kind: "slow" });
    expect([book.takeLie(), book.takeLie()]).toEqual(["idle", "idle"]);
    expect(book.take(true)?.kind).toBe("slow");
    expect(book.list()[0]?.hits).toBe(2);
    book.clear();
    book.add({ kind: "lie", says: "full" });
    expect(book.takeLie()).toBe("full");
    expect(book.take(true)).toBeUndefined();
  });
  it("keeps at most 100", ({ expect }) => {
    const book = createFaultBook(() => 0);
    for (let at = 0; at < 100; at += 1) expect(book.add({ kind: "cut" })).toBeDefined();
    expect(book.add({ kind: "cut" })).toBeUndefined();
    book.clear();
    expect(book.list()).toEqual([]);
  });
  it.for([
    [{ kind: "explode" }, 'kind: got "explode", wanted one of refuse'],
    [{ kind: "cut", when: 3 }, "when: got an unknown field, wanted one of kind, afterTokens"],
    [{ kind: "cut", afterTokens: -1 }, "afterTokens: got -1"],
    [{ kind: "cut", count: 0 }, "count: got 0"],
    [{ kind: "cut", probability: 2 }, "probability: got 2"],
    [{ kind: "lie", says: "busy" }, 'says: got "busy"'],
    [{}, "kind: got nothing"],
    [7, "body: got 7"],
  ] as const)("refuses %j with path, got and wanted", ([value, text], { expect }) => {
    const parsed = parseFault(value);
    expect(parsed.ok).toBe(false);
    if (!parsed.ok) expect(parsed.message).toContain(text);
  });
  it("cuts inside data:, inside characters and between the line feeds, and loses nothing", ({
    expect,
  }) => {
    const bytes = Buffer.from('data: {"a":"é東🚀"}\n\n');
    const pieces = awkwardPieces(bytes);
    expect(Buffer.concat(pieces).equals(bytes)).toBe(true);
    expect(pieces[0]?.toString()).toBe("da");
    expect(pieces.at(-1)?.toString()).toBe("\n");
    expect(pieces.length).toBe(9);
  });
});
