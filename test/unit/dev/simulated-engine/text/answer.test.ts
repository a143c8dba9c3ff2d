import { describe, it } from "vitest";
import { createAnswer, type Answer, type AnswerForm } from "#dev/simulated-engine/text/answer.ts";
import { chatPromptIds } from "#dev/simulated-engine/text/chat-template.ts";
import {
  bytesOfToken,
  bytesOfTokens,
  decode,
  encode,
  incompleteTail,
  openAnswerLength,
} from "#dev/simulated-engine/text/tokenizer.ts";
import { vocabulary } from "#dev/simulated-engine/text/vocabulary.ts";

const defaults = {
  model: "sim/a",
  revision: "r1",
  form: { kind: "text" } as AnswerForm,
  seed: undefined as number | undefined,
  choice: 0,
  deviation: 0,
  ignoreEos: false,
  tokensMin: 0,
};

function answerTo(
  content: string,
  options: Partial<typeof defaults> & { prefix?: string } = {},
): Answer {
  const { prefix, ...rest } = options;
  const promptIds = chatPromptIds({
    messages: [
      { role: "user", content },
      ...(prefix === undefined ? [] : [{ role: "assistant" as const, content: prefix }]),
    ],
    ...(prefix === undefined ? {} : { continue_final_message: true, add_generation_prompt: false }),
  });
  return createAnswer({ ...defaults, ...rest, promptIds });
}

function tokensOf(answer: Answer): number[] {
  const ids: number[] = [];
  for (let at = answer.position; at < answer.end; at += 1) ids.push(answer.tokenAt(at));
  return ids;
}
function bytesOf(answer: Answer): Buffer {
  return bytesOfTokens(tokensOf(answer)).subarray(answer.bytesSkipped);
}

describe("tokenizer", () => {
  it("has no token that is the beginning of another", ({ expect }) => {
    const clashes: string[] = [];
    for (const [at, one] of vocabulary.entries())
      for (const [other, two] of vocabulary.entries())
        if (at !== other && two.subarray(0, one.length).equals(one))
          clashes.push(`${one.toString()} / ${two.toString()}`);
    expect(clashes).toEqual([]);
  });
  it.for([
    "",
    "plain words",
    "amber anvil",
    "a\u0000b",
    "日本語 🚀🚀 é\n\n",
    '{"a": [1, 2]}',
    "x".repeat(1_000),
  ])("gives back %j", (text, { expect }) => {
    expect(decode(encode(text, "prompt"))).toBe(text);
    expect(decode(encode(text, "assistant"))).toBe(text);
  });
  it("tells what an assistant wrote at the end of a prompt", ({ expect }) => {
    const answer = encode("Simulated text: amber", "assistant");
    expect(openAnswerLength([...encode("amber", "prompt"), ...answer])).toBe(answer.length);
    expect(openAnswerLength([...answer, 6])).toBe(0);
  });
  it("knows an unfinished character", ({ expect }) => {
    const rocket = Buffer.from("a🚀");
    expect([1, 2, 3, 4, 5].map((to) => incompleteTail(rocket.subarray(0, to)))).toEqual([
      0, 1, 2, 3, 0,
    ]);
    expect(incompleteTail(Buffer.alloc(0))).toBe(0);
  });
});

describe("answer", () => {
  it("says that it is simulated, in its first word and in its opening", ({ expect }) => {
    const text = bytesOf(answerTo("hello")).toString();
    expect(text.startsWith("Simulated text:")).toBe(true);
    expect(text.endsWith(".")).toBe(true);
  });
  it("is the same for the same prompt and another for another prompt, model, revision, seed, choice", ({
    expect,
  }) => {
    const base = bytesOf(answerTo("hello")).toString();
    expect(bytesOf(answerTo("hello")).toString()).toBe(base);
    const others = [
      answerTo("hello!"),
      answerTo("hello", { model: "sim/b" }),
      answerTo("hello", { revision: "r2" }),
      answerTo("hello", { seed: 1 }),
      answerTo("hello", { choice: 1 }),
      answerTo("hello", { deviation: 1 }),
    ].map((answer) => bytesOf(answer).toString());
    expect(new Set([base, ...others]).size).toBe(7);
  });
  it("has a natural length of 40 to 200 tokens", ({ expect }) => {
    for (let at = 0; at < 200; at += 1) {
      const { end } = answerTo(`prompt ${at}`);
      expect(end).toBeGreaterThanOrEqual(40);
      expect(end).toBeLessThanOrEqual(200);
    }
  });
  it.for([1, 2, 3, 4, 5, 500])(
    "has exactly %i tokens when the prompt asks for them",
    (tokens, { expect }) => {
      expect(tokensOf(answerTo(`please [[tokens:${tokens}]]`)).length).toBe(tokens);
    },
  );
  it("takes the length from the last user message only", ({ expect }) => {
    const promptIds = chatPromptIds({
      messages: [
        { role: "user", content: "[[tokens:5]]" },
        { role: "assistant", content: "[[tokens:6]]" },
        { role: "user", content: "[[tokens:7]]" },
      ],
    });
    expect(createAnswer({ ...defaults, promptIds }).end).toBe(7);
  });
  it("has at least min_tokens, and no end with ignore_eos", ({ expect }) => {
    expect(answerTo("x [[tokens:5]]", { tokensMin: 9 }).end).toBe(9);
    expect(answerTo("x [[tokens:5]]", { ignoreEos: true }).end).toBe(Infinity);
  });
  it("is whole UTF-8 with characters of two, three and four bytes", ({ expect }) => {
    const bytes = bytesOf(answerTo("[[tokens:2000]]"));
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    expect(text).toMatch(/é/u);
    expect(text).toMatch(/東/u);
    expect(text).toMatch(/🚀/u);
  });
});

describe("continuation", () => {
  it("gives exactly the remaining bytes at every token border, by token ids, inside characters too", ({
    expect,
  }) => {
    const whole = answerTo("tell me more [[tokens:300]]");
    const ids = tokensOf(whole);
    const promptIds = chatPromptIds({
      messages: [{ role: "user", content: "tell me more [[tokens:300]]" }],
    });
    let insideCharacters = 0;
    for (let cut = 0; cut <= ids.length; cut += 1) {
      const rest = createAnswer({ ...defaults, promptIds: [...promptIds, ...ids.slice(0, cut)] });
      expect(rest.position).toBe(cut);
      expect(tokensOf(rest)).toEqual(ids.slice(cut));
      if (rest.pendingBytes.length > 0) insideCharacters += 1;
    }
    expect(insideCharacters).toBeGreaterThan(0);
  });
  it("gives exactly the remaining bytes at every character border, by text", ({ expect }) => {
    const whole = bytesOf(answerTo("tell me more [[tokens:150]]"));
    for (let cut = 0; cut <= whole.length; cut += 1) {
      const head = whole.subarray(0, cut);
      if (incompleteTail(head) > 0) continue;
      const rest = answerTo("tell me more [[tokens:150]]", { prefix: head.toString() });
      expect(bytesOf(rest).equals(whole.subarray(cut)), `cut at byte ${cut}`).toBe(true);
    }
  });
  it("goes on inside a JSON answer", ({ expect }) => {
    const form: AnswerForm = {
      kind: "json",
      schema: { type: "object", properties: { a: { type: "string" }, b: { type: "integer" } } },
    };
    const whole = bytesOf(answerTo("json", { form }));
    for (let cut = 1; cut < whole.length; cut += 1) {
      const head = whole.subarray(0, cut);
      if (incompleteTail(head) > 0) continue;
      const rest = answerTo("json", { form, prefix: head.toString() });
      expect(head.toString() + bytesOf(rest).toString()).toBe(whole.toString());
    }
  });
  it("goes on behind a beginning that somebody else wrote, the same at every border", ({
    expect,
  }) => {
    const first = answerTo("hi", { prefix: "Sure, here it is" });
    const ids = tokensOf(first);
    expect(ids.length).toBeGreaterThan(0);
    const whole = bytesOfTokens(ids).toString();
    for (let cut = 0; cut < ids.length; cut += 1) {
      const head = bytesOfTokens(ids.slice(0, cut));
      if (incompleteTail(head) > 0) continue;
      const rest = answerTo("hi", { prefix: `Sure, here it is${head.toString()}` });
      expect(head.toString() + bytesOf(rest).toString()).toBe(whole);
    }
  });
  it("still answers after a foreign beginning that is longer than any natural answer", ({
    expect,
  }) => {
    expect(tokensOf(answerTo("hi", { prefix: "foreign ".repeat(400) })).length).toBeGreaterThan(0);
  });
  it("has nothing left after the whole answer", ({ expect }) => {
    const whole = bytesOf(answerTo("hello")).toString();
    expect(tokensOf(answerTo("hello", { prefix: whole }))).toEqual([]);
  });
  it("gives every token bytes", ({ expect }) => {
    for (const id of tokensOf(answerTo("hello")))
      expect(bytesOfToken(id).length).toBeGreaterThan(0);
  });
});
