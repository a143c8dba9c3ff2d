import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createTurnRendering } from "#shared/conversation/turn-rendering.ts";
import { initialTurnState } from "#shared/conversation/turn-state.ts";
import type { DeltaEvent } from "#shared/protocol/engine-event.ts";
import { createEncoder } from "#shared/protocol/encoders/create-encoder.ts";
import { formatClientFrame } from "#shared/protocol/internal/stream.ts";
import type { ClientFrame } from "#shared/protocol/internal/stream.ts";
import type { Api, TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import { readDelivered } from "#shared/protocol/resume/read-delivered.ts";
import { createAgreement } from "#shared/protocol/resume/transcript.ts";
import type { CellId, RegionId } from "#shared/residency/brands.ts";

type Piece = Omit<DeltaEvent, "kind">;

const usage = { promptTokens: 7, completionTokens: 5, cachedTokens: 2, reasoningTokens: 0 };

function aRequest(api: Api, choices: number, resume: TurnRequest["resume"] = null): TurnRequest {
  return {
    lane: "durable",
    engine: {
      path: api === "completions" ? "completions" : "chat/completions",
      model: "m",
      body: { n: choices },
      promptTokensEstimate: 1,
      completionTokensMax: null,
    },
    rendering: {
      api,
      stream: true,
      includeUsage: api !== "responses",
      publicId: "resp_1",
      createdAtSeconds: 1,
      model: "m",
      itemIdStem: "stem",
      echo: {},
    },
    resume,
  } as unknown as TurnRequest;
}

function render(request: TurnRequest) {
  const cell = "eu-west-1a" as CellId;
  const region = "eu-west-1" as RegionId;
  return createTurnRendering({ request, cell, region, createEncoder });
}

/** Renders a turn from pieces; `resume` is where it begins. Null when it does not agree with what was given. */
function run(request: TurnRequest, pieces: readonly DeltaEvent[]): readonly ClientFrame[] | null {
  const rendering = render(request);
  const { resume } = request;
  const frames: ClientFrame[] = [];
  let accept = (delta: DeltaEvent): DeltaEvent | null | false => delta;
  let isWhole = true;
  if (resume !== null) {
    const choices = Number(request.engine.body["n"]);
    const read = readDelivered(request.rendering, choices, resume.frames, resume.toSeq);
    if (read === null) return null;
    frames.push(...rendering.resume(read.deltas, resume));
    const agreement = createAgreement(read.deltas);
    accept = (delta) => {
      const verdict = agreement.accept(delta);
      if (verdict.kind === "diverged") return false;
      return verdict.kind === "covered" ? null : verdict.delta;
    };
  }
  for (const piece of pieces) {
    const delta = accept(piece);
    if (delta === false) return null;
    if (delta === null) continue;
    const added = rendering.deliver({ kind: "deliver", delta });
    if (added === null) return null;
    frames.push(...added);
  }
  const ending = rendering.end({ kind: "finish", usage, document: null }, initialTurnState(), 0);
  isWhole = ending.outcome.status !== "failed";
  return isWhole ? [...frames, ...ending.frames, ...ending.terminal] : null;
}

function textOf(frames: readonly ClientFrame[], fromSeq = 1): string {
  return frames.map((frame, index) => formatClientFrame(fromSeq + index, frame)).join("");
}

/** Checks that the turn goes on from each of its frames to the same bytes. */
function checkEveryBorder(api: Api, choices: number, pieces: readonly DeltaEvent[]): void {
  const whole = run(aRequest(api, choices), pieces) ?? [];
  for (let toSeq = 1; toSeq < whole.length; toSeq += 1) {
    const given = textOf(whole.slice(0, toSeq));
    const resume = { frames: given, toSeq, surplusTokens: 0, continuations: 1 };
    const rest = run(aRequest(api, choices, resume), pieces);
    expect(given + textOf(rest ?? [], toSeq + 1)).toBe(textOf(whole));
  }
}

function delta(piece: Piece): DeltaEvent {
  return { kind: "delta", ...piece };
}

const tricky = fc.constantFrom(
  "a",
  "Hello",
  " wörld",
  "🙂",
  "\u2028",
  "\n\ndata: [DONE]\n\n",
  "\r\n",
  "\u0000",
  '"',
  "模擬",
  "id: 7\n",
);
const text = fc.array(tricky, { minLength: 1, maxLength: 3 }).map((parts) => parts.join(""));

/** The pieces of one choice: reasoning, text, tool calls, in the order in which engines give them. */
function piecesOf(choice: number, api: Api): fc.Arbitrary<readonly DeltaEvent[]> {
  const isChat = api !== "completions";
  return fc
    .record({
      reasoning: fc.array(text, { maxLength: isChat ? 2 : 0 }),
      texts: fc.array(text, { maxLength: 4 }),
      refusals: fc.array(text, { maxLength: isChat ? 1 : 0 }),
      calls: fc.array(fc.array(text, { maxLength: 3 }), { maxLength: isChat ? 2 : 0 }),
      hasLogprobs: fc.boolean(),
      finishReason: fc.constantFrom("stop", "length"),
    })
    .map(({ reasoning, texts, refusals, calls, hasLogprobs, finishReason }) => [
      ...reasoning.map((piece) => delta({ choice, reasoning: piece })),
      ...texts.map((piece) =>
        delta({
          choice,
          text: piece,
          ...(hasLogprobs ? { logprobs: { content: [{ token: piece, logprob: -1 }] } } : {}),
        }),
      ),
      ...refusals.map((refusal) => delta({ choice, refusal })),
      ...calls.flatMap((parts, index) => [
        delta({ choice, toolCalls: [{ index, id: `call_${index}`, name: `f${index}` }] }),
        ...parts.map((part) => delta({ choice, toolCalls: [{ index, arguments: part }] })),
      ]),
      delta({ choice, finishReason }),
    ]);
}

describe("an answer that goes on elsewhere", () => {
  it.each<Api>(["chat", "completions", "responses"])(
    "%s: is the same from every frame on, byte for byte",
    (api) => {
      fc.assert(
        fc.property(piecesOf(0, api), (pieces) => checkEveryBorder(api, 1, pieces)),
        { numRuns: 200 },
      );
    },
  );

  it.each<Api>(["chat", "completions"])("%s: with several choices", (api) => {
    fc.assert(
      fc.property(piecesOf(0, api), piecesOf(1, api), (first, second) => {
        const pieces: DeltaEvent[] = [];
        for (let at = 0; at < Math.max(first.length, second.length); at += 1) {
          for (const piece of [first[at], second[at]]) if (piece !== undefined) pieces.push(piece);
        }
        checkEveryBorder(api, 2, pieces);
      }),
      { numRuns: 100 },
    );
  });

  it("is the same however the engine cuts its text", () => {
    const whole = run(aRequest("chat", 1), [delta({ choice: 0, text: "Good day to you" })]) ?? [];
    const resume = {
      frames: textOf(whole.slice(0, 2)),
      toSeq: 2,
      surplusTokens: 0,
      continuations: 1,
    };
    const other = ["Go", "od da", "y to", " you, and more"].map((part) =>
      delta({ choice: 0, text: part }),
    );
    const rest = run(aRequest("chat", 1, resume), other) ?? [];
    expect(rest[0]?.data).toContain('"content":", and more"');
  });

  it.each([
    ["another text", "Good night"],
    ["a shorter text", "Good"],
  ])("is not taken for the same when it is %s", (_name, other) => {
    const first = [delta({ choice: 0, text: "Good day" })];
    const whole = run(aRequest("chat", 1), first) ?? [];
    const resume = {
      frames: textOf(whole.slice(0, 2)),
      toSeq: 2,
      surplusTokens: 0,
      continuations: 1,
    };
    const second = [delta({ choice: 0, text: other }), delta({ choice: 0, finishReason: "stop" })];
    expect(run(aRequest("chat", 1, resume), second)).toBeNull();
  });
});

describe("frames of an earlier attempt", () => {
  const { rendering } = aRequest("chat", 1);
  const frame = (seq: number, data: string) => `id: ${seq}\ndata: ${data}\n\n`;
  const role = textOf((run(aRequest("chat", 1), []) ?? []).slice(0, 1));

  it.each([
    ["a gap", role + frame(3, "{}"), 2],
    ["fewer than said", role, 2],
    ["half a frame", `${role}id: 2\nda`, 2],
    ["an end marker", role + frame(2, "[DONE]"), 2],
    ["no JSON", role + frame(2, "{"), 2],
    ["no chunk", role + frame(2, '{"error":{"code":"interrupted"}}'), 2],
    ["a chunk of another answer", role.replace("resp_1", "resp_2"), 1],
    ["an event in a chat", role.replace("data:", "event: x\ndata:"), 1],
    ["nothing", "", 1],
  ])("are refused when they are %s", (_name, frames, toSeq) => {
    expect(readDelivered(rendering, 1, frames, toSeq)).toBeNull();
  });

  it("are refused when they are a response that has ended", () => {
    const whole = run(aRequest("responses", 1), [delta({ choice: 0, text: "x" })]) ?? [];
    const response = aRequest("responses", 1).rendering;
    expect(readDelivered(response, 1, textOf(whole), whole.length)).toBeNull();
    expect(readDelivered(response, 1, textOf(whole.slice(0, -1)), whole.length - 1)).not.toBeNull();
  });
});
