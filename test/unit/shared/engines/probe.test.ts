import { describe, expect, it } from "vitest";
import { plainAbilities, vllmAbilities } from "#shared/config/engine-abilities.ts";
import type { StatedAbilities } from "#shared/config/engine-abilities.ts";
import { identityOf, nextQuestion, readFindings } from "#shared/engines/probe.ts";
import type { ProbeAnswer, ProbeAnswers } from "#shared/engines/probe-answer.ts";
import type { QuestionId } from "#shared/engines/probe-question.ts";
import {
  describeAbilities,
  knownWithoutProbe,
  settleAbilities,
} from "#shared/engines/settle-abilities.ts";

type Answerer = (id: QuestionId) => ProbeAnswer | null;

function ok(text: string, loadHeader: string | null = null): ProbeAnswer {
  return { status: 200, loadHeader, text };
}

function status(code: number): ProbeAnswer {
  return { status: code, loadHeader: null, text: "{}" };
}

function whole(promptTokens: number): ProbeAnswer {
  const usage = { prompt_tokens: promptTokens, completion_tokens: 2 };
  return ok(JSON.stringify({ choices: [{ message: { content: "one" } }], usage }));
}

interface StreamParts {
  readonly usage?: boolean;
  readonly promptIds?: unknown;
  readonly ids?: unknown;
}

function stream({ ids, promptIds, usage = true }: StreamParts = {}): ProbeAnswer {
  const base = { id: "x", object: "chat.completion.chunk", created: 1, model: "m" };
  const choice = { index: 0, delta: { content: "one" }, finish_reason: "length", token_ids: ids };
  const events = [{ ...base, choices: [choice], prompt_token_ids: promptIds }];
  const last = { ...base, choices: [], usage: { prompt_tokens: 3, completion_tokens: 2 } };
  const all = usage ? [...events, last] : events;
  return ok(
    `${all.map((event) => `data: ${JSON.stringify(event)}\n\n`).join("")}data: [DONE]\n\n`,
    "TEXT named_metrics.num_requests_waiting=0.0",
  );
}

const rubbishAtTheEnd: ProbeAnswer = { ...stream(), text: `${stream().text}data: {}\n\n` };

const models = ok(JSON.stringify({ data: [{ id: "m", owned_by: "vllm", created: 7 }] }));

/** An engine that knows everything. */
const full: Answerer = (id) => {
  switch (id) {
    case "models":
      return models;
    case "version":
      return ok('{"version":"0.32.0"}');
    case "metrics":
      return ok('# TYPE\nvllm:num_requests_running{engine="0"} 0\n');
    case "stream":
    case "bareStream":
      return stream();
    case "tokenIds":
      return stream({ promptIds: [1, 2, 3], ids: [4, 5] });
    case "tokenPrompt":
    case "continued":
      return whole(3);
    case "closed":
      return whole(4);
    case "saltRefused":
    case "priorityRefused":
      return status(400);
    case "saltTaken":
    case "priorityTaken":
      return whole(3);
  }
};

/** `full`, but for some answers. */
function but(changes: Partial<Record<QuestionId, ProbeAnswer | null>>): Answerer {
  return (id) => (id in changes ? (changes[id] ?? null) : full(id));
}

function probe(engine: Answerer, stated: StatedAbilities = {}) {
  let answers: ProbeAnswers = {};
  const asked: QuestionId[] = [];
  for (;;) {
    const question = nextQuestion(answers, "m", stated);
    if (question === null) break;
    if (asked.length > 20) throw new Error("it asks without end");
    asked.push(question.id);
    answers = { ...answers, [question.id]: engine(question.id) };
  }
  return { asked, answers, findings: readFindings(answers, stated) };
}

function proven(engine: Answerer, stated: StatedAbilities = {}): string {
  return describeAbilities(settleAbilities(probe(engine, stated).findings, stated).abilities);
}

const all =
  "tokenIds continueFinalMessage cacheSalt priority loadHeader usageInStream metrics=vllm";

describe("a probe", () => {
  it("proves all that an engine can do, with thirteen questions at the most", () => {
    expect(proven(full)).toBe(all);
    expect(probe(full).asked).toHaveLength(12);
    expect(probe(but({ stream: status(400) })).asked).toHaveLength(13);
  });

  it("asks for two tokens at the most, and says fixed words only", () => {
    let answers: ProbeAnswers = {};
    for (;;) {
      const question = nextQuestion(answers, "m", {});
      if (question === null) break;
      if (question.body !== null) {
        expect(question.body["max_tokens"]).toBe(2);
        expect(question.body["model"]).toBe("m");
      }
      answers = { ...answers, [question.id]: full(question.id) };
    }
    expect.assertions(18);
  });

  const lacking: readonly (readonly [string, Answerer, string])[] = [
    ["takes any salt: it does not know the field", but({ saltRefused: whole(3) }), "cacheSalt"],
    [
      "refuses every salt: it knows no unknown fields",
      but({ saltTaken: status(400) }),
      "cacheSalt",
    ],
    ["takes any priority", but({ priorityRefused: whole(3) }), "priority"],
    [
      "refuses a priority: it does not schedule by it",
      but({ priorityTaken: status(400) }),
      "priority",
    ],
    ["has a salt route that is not there", but({ saltTaken: status(404) }), "cacheSalt"],
    ["names no token ids", but({ tokenIds: stream() }), "tokenIds"],
    ["names ids of the answer only", but({ tokenIds: stream({ ids: [4] }) }), "tokenIds"],
    [
      "names ids of the prompt only",
      but({ tokenIds: stream({ promptIds: [1, 2, 3] }) }),
      "tokenIds",
    ],
    [
      "counts other tokens than it names",
      but({ tokenIds: stream({ promptIds: [1], ids: [2] }), tokenPrompt: whole(1) }),
      "tokenIds",
    ],
    [
      "names ids that are none",
      but({ tokenIds: stream({ promptIds: ["a"], ids: [4] }) }),
      "tokenIds",
    ],
    ["adds a token to a prompt of ids", but({ tokenPrompt: whole(4) }), "tokenIds"],
    ["takes no prompt of ids", but({ tokenPrompt: status(422) }), "tokenIds"],
    ["has no text completions", but({ tokenPrompt: status(404) }), "tokenIds"],
    ["refuses to leave a message open", but({ continued: status(400) }), "continueFinalMessage"],
    ["closes the message all the same", but({ continued: whole(4) }), "continueFinalMessage"],
    ["opens more than it closes", but({ continued: whole(5) }), "continueFinalMessage"],
    ["counts no tokens", but({ continued: ok('{"choices":[]}') }), "continueFinalMessage"],
    [
      "counts tokens in words",
      but({ closed: ok('{"choices":[],"usage":{"prompt_tokens":"4"}}') }),
      "continueFinalMessage",
    ],
    ["tells no usage in its stream", but({ stream: stream({ usage: false }) }), "usageInStream"],
    [
      "tells usage in a stream that goes on in rubbish",
      but({ stream: rubbishAtTheEnd }),
      "usageInStream",
    ],
    ["refuses to tell usage in its stream", but({ stream: status(400) }), "usageInStream"],
    [
      "tells its load in no known form",
      but({ stream: { ...stream(), loadHeader: "JSON {}" } }),
      "loadHeader",
    ],
    ["has no metrics", but({ metrics: status(404) }), "metrics=vllm"],
  ];
  it.each(lacking)("does not believe in an ability when an engine %s", (_what, engine, lost) => {
    // Only vLLM's priorities are known to run as ours do.
    const withIt = lost.startsWith("metrics") ? [lost, "priority"] : [lost];
    const expected = all.split(" ").filter((name) => !withIt.includes(name));
    expect(proven(engine)).toBe(expected.join(" "));
    expect(settleAbilities(probe(engine).findings, {}).source).toBe("probed");
  });

  it.each([
    ["sglang", "sglang:num_running_reqs 1"],
    ["llamacpp", "llamacpp:requests_processing 1"],
    ["tgi", "tgi_queue_size 1"],
  ])("knows the metrics of %s, and takes its priorities for nothing", (family, text) => {
    const { asked, findings } = probe(but({ metrics: ok(`${text}\n`) }));
    expect(findings.metrics).toBe(family);
    expect(findings.priority).toBe(false);
    expect(asked).not.toContain("priorityRefused");
  });

  it("does not ask for what is stated, and believes it", () => {
    const stated = { cacheSalt: true, tokenIds: false, priority: true, metrics: "none" } as const;
    const { asked } = probe(but({ saltRefused: whole(3) }), stated);
    expect(asked).toEqual(["models", "version", "stream", "continued", "closed"]);
    expect(proven(full, stated)).toBe(
      "continueFinalMessage cacheSalt priority loadHeader usageInStream",
    );
  });

  it("does not ask a server for chat that has none, whatever else it answers", () => {
    for (const engine of [
      but({ stream: status(404) }),
      but({ stream: status(400), bareStream: status(400) }),
    ]) {
      const { asked, findings } = probe(engine);
      expect(asked.at(-1)).toMatch(/tream$/);
      expect(settleAbilities(findings, {})).toEqual({
        abilities: { ...plainAbilities, usageInStream: false, metrics: "vllm" },
        source: "probed",
      });
    }
  });
});

describe("an engine that does not answer", () => {
  const questions: readonly QuestionId[] = [
    "stream",
    "saltRefused",
    "saltTaken",
    "tokenIds",
    "tokenPrompt",
    "continued",
    "closed",
    "priorityRefused",
    "priorityTaken",
  ];
  const silences = [null, status(429), status(500), status(503), status(401), status(302)];
  it.each(questions)("to %s is not asked on, and has nothing that it did not prove", (id) => {
    for (const silence of silences) {
      const { asked, findings } = probe(but({ [id]: silence }));
      expect(asked.at(-1)).toBe(id);
      const { abilities, source } = settleAbilities(findings, {});
      expect(source).toBe("partly");
      const lost = {
        stream: "tokenIds",
        saltRefused: "cacheSalt",
        saltTaken: "cacheSalt",
      } as const;
      const name = lost[id as keyof typeof lost] ?? "priority";
      expect(abilities[name]).toBe(false);
    }
  });

  it("keeps what an earlier probe of it proved", () => {
    const { findings } = probe(but({ saltRefused: status(429) }));
    const before = { ...plainAbilities, cacheSalt: true, tokenIds: true };
    const { abilities } = settleAbilities(findings, {}, before);
    expect(describeAbilities(abilities)).toBe(
      "tokenIds cacheSalt loadHeader usageInStream metrics=vllm",
    );
  });

  it.each([null, status(404), status(500), ok("<html>"), ok("[]"), ok('{"data":{}}')])(
    "with a list of models is asked nothing else: %j",
    (answer) => {
      const { answers, asked } = probe(but({ models: answer }));
      expect(asked).toEqual(["models"]);
      expect(identityOf(answers, "m")).toBeNull();
    },
  );
});

describe("rubbish", () => {
  const texts = [
    "",
    "<html>ok</html>",
    "null",
    "[]",
    "{",
    '{"choices":{}}',
    "data: {}\n\n",
    "data: [DONE]\n\n",
    'data: {"error":{"message":"boom"}}\n\n',
    "\u0000\uFFFD",
    '{"__proto__":{"cacheSalt":true}}',
    `data: ${JSON.stringify({ choices: [], usage: { prompt_tokens: -1 } })}\n\n`,
    "[".repeat(50_000),
    "x".repeat(200_000),
  ];
  it.each(texts.map((text) => [text.slice(0, 24), text]))("proves nothing: %j", (_name, text) => {
    const rubbish: Answerer = (id) => (id === "models" ? models : ok(text, text.slice(0, 100)));
    const { asked, findings } = probe(rubbish);
    expect(asked.length).toBeLessThan(13);
    expect(describeAbilities(settleAbilities(findings, {}).abilities)).toBe("none");
  });
});

describe("who a server is", () => {
  const of = (entry: object, version = "1"): string | null =>
    identityOf(
      { models: ok(JSON.stringify({ data: [entry] })), version: ok(JSON.stringify({ version })) },
      "m",
    );

  it("does not change with the time that its list tells", () => {
    expect(of({ id: "m", created: 1 })).toBe(of({ id: "m", created: 2 }));
  });

  it.each([
    [{ id: "m", root: "other" }, "1"],
    [{ id: "m", owned_by: "sglang" }, "1"],
    [{ id: "m", max_model_len: 4096 }, "1"],
    [{ id: "m" }, "2"],
  ])("changes with what it serves and its version: %j %s", (entry, version) => {
    expect(of(entry, version)).not.toBe(of({ id: "m" }));
  });

  it("is short, however long what it says", () => {
    expect(of({ id: "m", root: "x".repeat(10_000) })?.length).toBe(512);
  });
});

describe("without a probe", () => {
  it("nothing is used but OpenAI's API and what is stated", () => {
    expect(knownWithoutProbe({ cacheSalt: true })).toEqual({
      abilities: { ...plainAbilities, cacheSalt: true },
      source: "unknown",
    });
  });

  it("an engine that is stated in full is known", () => {
    const stated: StatedAbilities = { ...vllmAbilities, metrics: "vllm" };
    expect(knownWithoutProbe(stated)).toEqual({ abilities: vllmAbilities, source: "stated" });
    const none: StatedAbilities = { ...plainAbilities, metrics: "none" };
    expect(knownWithoutProbe(none)).toEqual({ abilities: plainAbilities, source: "stated" });
  });
});
