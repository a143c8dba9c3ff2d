import OpenAI from "openai";
import { describe, expect, it } from "vitest";
import type { DeltaEvent } from "#shared/protocol/engine-event.ts";
import type { ClientFrame } from "#shared/protocol/internal/stream.ts";
import { createEncoder } from "#shared/protocol/encoders/create-encoder.ts";
import { errorFrame } from "#shared/protocol/encoders/error-frame.ts";
import {
  aRendering,
  calls,
  encode,
  ends,
  refuses,
  says,
  streamText,
  thinks,
} from "./answer-builders.ts";

/** The official client before a server that answers with `frames`, in pieces of `pieceBytes`. */
function clientOf(frames: readonly ClientFrame[], pieceBytes = 7): OpenAI {
  const bytes = new TextEncoder().encode(streamText(frames));
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (let at = 0; at < bytes.length; at += pieceBytes)
        controller.enqueue(bytes.slice(at, at + pieceBytes));
      controller.close();
    },
  });
  const answer = new Response(body, { headers: { "content-type": "text/event-stream" } });
  return new OpenAI({
    apiKey: "key",
    baseURL: "http://gateway.localhost/v1",
    maxRetries: 0,
    fetch: () => Promise.resolve(answer),
  });
}

const messages = [{ role: "user" as const, content: "hi" }];
const content = "line\r\n\u2028\u0085🙂\n\ndata: [DONE]\n\n\u0000";
const answers: readonly (readonly [string, readonly DeltaEvent[]])[] = [
  ["text", [says(content), says(content), ends()]],
  ["halves of a character", [says("\uD83D"), says("\uDE42"), ends()]],
  ["a refusal", [refuses("I "), refuses("won't"), ends()]],
  ["nothing", [ends()]],
  [
    "tool calls that interleave",
    [
      says("let me see"),
      calls({ index: 0, id: "t0", name: "f", arguments: '{"a"' }),
      calls({ index: 1, id: "t1", name: "g" }),
      calls({ index: 0, arguments: ":1}" }, { index: 1, arguments: "{}" }),
      ends("tool_calls"),
    ],
  ],
];

describe("the openai package reads the chat stream", () => {
  it.each(answers)("of %s as the whole answer", async (_, deltas) => {
    const { frames, answer } = encode(aRendering(), deltas);
    const stream = clientOf(frames).chat.completions.stream({ model: "m", messages });
    const whole = await stream.finalChatCompletion();
    const choice = (answer.body["choices"] as unknown as OpenAI.ChatCompletion.Choice[])[0];
    expect(whole.choices[0]?.finish_reason).toBe(choice?.finish_reason);
    const read = whole.choices[0]?.message;
    expect(read?.content ?? "").toBe(choice?.message.content ?? "");
    expect(read?.refusal ?? null).toBe(choice?.message.refusal);
    expect(read?.tool_calls ?? []).toMatchObject(choice?.message.tool_calls ?? []);
    expect(whole.usage).toEqual(answer.body["usage"]);
  });

  it("of several choices", async () => {
    const deltas = [says("a"), says("x", 1), says("b"), ends("stop", 1), ends()];
    const { frames } = encode(aRendering(), deltas, 2);
    const stream = clientOf(frames).chat.completions.stream({ model: "m", messages, n: 2 });
    const { choices } = await stream.finalChatCompletion();
    expect(choices.map(({ message }) => message.content)).toEqual(["ab", "x"]);
  });

  it("and throws where the stream ends with an error", async () => {
    const encoder = createEncoder(aRendering(), 1);
    const begun = [...encoder.open(), ...encoder.delta(says("a"))];
    const frames = [...begun, ...encoder.fail({ code: "interrupted", message: "broken" })];
    const stream = clientOf(frames).chat.completions.stream({ model: "m", messages });
    await expect(stream.finalChatCompletion()).rejects.toMatchObject({ code: "interrupted" });
  });
});

describe("the openai package reads the responses stream", () => {
  const rendering = aRendering({ api: "responses", publicId: "resp_1" });

  it.each([
    ...answers,
    [
      "kinds that interleave",
      [
        thinks("hm"),
        says("a"),
        calls({ index: 0, id: "t0", name: "f", arguments: "{" }),
        says("b"),
        thinks("so"),
        calls({ index: 0, arguments: "}" }),
        ends("tool_calls"),
      ],
    ] as const,
  ])("of %s as the whole answer", async (_, deltas) => {
    const { frames, answer } = encode(rendering, deltas);
    const stream = clientOf(frames).responses.stream({ model: "m", input: "hi" });
    const texts: string[] = [];
    stream.on("response.output_text.delta", ({ delta }) => texts.push(delta));
    const whole = await stream.finalResponse();
    expect(whole.output).toMatchObject(answer.body["output"] as unknown as object[]);
    expect(whole.usage).toEqual(answer.body["usage"]);
    expect(whole.status).toBe("completed");
    expect(texts.join("")).toBe(whole.output_text);
  });

  it("of an answer that was cut off", async () => {
    const { frames } = encode(rendering, [says("a"), ends("length")]);
    const events = await clientOf(frames).responses.create({
      model: "m",
      input: "hi",
      stream: true,
    });
    let last: OpenAI.Responses.ResponseStreamEvent | null = null;
    for await (const event of events) last = event;
    expect(last).toMatchObject({
      type: "response.incomplete",
      response: { incomplete_details: { reason: "max_output_tokens" } },
    });
  });

  it("and throws at an error event", async () => {
    const begun = createEncoder(rendering, 1).open();
    const error = errorFrame(
      "responses",
      { code: "interrupted", message: "broken" },
      begun.length + 1,
    );
    const stream = clientOf([...begun, error]).responses.stream({ model: "m", input: "hi" });
    await expect(stream.finalResponse()).rejects.toThrow(/broken/);
  });
});
