import fc from "fast-check";
import type { DeltaEvent, ToolCallDelta } from "#shared/protocol/engine-event.ts";

/** Text with everything that a stream could stumble over. */
export const content = fc.oneof(
  fc.string({ unit: "binary", minLength: 1, maxLength: 6 }),
  fc.constantFrom(
    "\uD83D",
    "\uDE42",
    "\u2028",
    "\u0085",
    "\u0000",
    "\r\n",
    "\n\ndata: [DONE]\n\n",
    "\\u2028",
  ),
);

const logprobs = fc.option(
  fc.array(fc.record({ token: content, logprob: fc.integer({ min: -9, max: 0 }) }), {
    minLength: 1,
    maxLength: 2,
  }),
  { nil: undefined, freq: 3 },
);

/** One piece of one kind, before it is known which of its calls have begun. */
const piece = fc.oneof(
  fc.record({
    kind: fc.constant("text" as const),
    choice: fc.nat({ max: 1 }),
    text: content,
    logprobs,
  }),
  fc.record({ kind: fc.constant("reasoning" as const), choice: fc.nat({ max: 1 }), text: content }),
  fc.record({ kind: fc.constant("refusal" as const), choice: fc.nat({ max: 1 }), text: content }),
  fc.record({
    kind: fc.constant("call" as const),
    choice: fc.nat({ max: 1 }),
    text: content,
    pick: fc.nat({ max: 3 }),
    id: fc.constantFrom(undefined, "a", "b", "c"),
  }),
);

/** Answers of `choices` choices as an engine streams them: single pieces in order, and a finish reason for each. */
export function someDeltas(choices: 1 | 2): fc.Arbitrary<readonly DeltaEvent[]> {
  const reasons = fc.array(fc.constantFrom("stop", "length", "tool_calls"), {
    minLength: choices,
    maxLength: choices,
  });
  return fc.tuple(fc.array(piece, { maxLength: 20 }), reasons).map(([pieces, finishReasons]) => {
    const begun = [0, 0];
    const deltas = pieces.map((one): DeltaEvent => {
      const choice = one.choice % choices;
      const head = { kind: "delta", choice } as const;
      if (one.kind === "reasoning") return { ...head, reasoning: one.text };
      if (one.kind === "refusal") return { ...head, refusal: one.text };
      if (one.kind === "text") {
        const entries = one.logprobs;
        const logged = entries === undefined ? {} : { logprobs: { content: entries } };
        return { ...head, text: one.text, ...logged };
      }
      const count = begun[choice] ?? 0;
      if (one.pick < count)
        return { ...head, toolCalls: [{ index: one.pick, arguments: one.text }] };
      begun[choice] = count + 1;
      const call: ToolCallDelta = { index: count, name: one.text };
      return { ...head, toolCalls: [one.id === undefined ? call : { ...call, id: one.id }] };
    });
    return [
      ...deltas,
      ...finishReasons.map((finishReason, choice): DeltaEvent => {
        return { kind: "delta", choice, finishReason };
      }),
    ];
  });
}

/** Places of a delta's content in the order in which encoders tell of it. */
function span(delta: DeltaEvent): { readonly first: number; readonly last: number } {
  const { reasoning, text, refusal, toolCalls, finishReason } = delta;
  const places = [reasoning, text, refusal, toolCalls, finishReason].flatMap((part, place) =>
    part === undefined ? [] : [place],
  );
  return { first: places[0] ?? 0, last: places.at(-1) ?? 0 };
}

function join(a: string | undefined, b: string | undefined): string | undefined {
  return a === undefined ? b : a + (b ?? "");
}

function merge(a: DeltaEvent, b: DeltaEvent): DeltaEvent {
  const contentOf = ({ logprobs: value }: DeltaEvent) =>
    (value as { readonly content: readonly never[] } | undefined)?.content ?? [];
  const merged = {
    kind: "delta" as const,
    choice: a.choice,
    reasoning: join(a.reasoning, b.reasoning),
    text: join(a.text, b.text),
    refusal: join(a.refusal, b.refusal),
    toolCalls: a.toolCalls === undefined ? b.toolCalls : [...a.toolCalls, ...(b.toolCalls ?? [])],
    logprobs:
      a.logprobs === undefined && b.logprobs === undefined
        ? undefined
        : { content: [...contentOf(a), ...contentOf(b)] },
    finishReason: b.finishReason,
  };
  return Object.fromEntries(
    Object.entries(merged).filter(([, value]) => value !== undefined),
  ) as unknown as DeltaEvent;
}

/** The same answer in larger pieces: neighbours that say the same together are joined where `isJoined` says so. */
export function regroup(
  deltas: readonly DeltaEvent[],
  isJoined: readonly boolean[],
): readonly DeltaEvent[] {
  const groups: DeltaEvent[] = [];
  deltas.forEach((delta, index) => {
    const last = groups.at(-1);
    const isAfter =
      last !== undefined && last.choice === delta.choice && span(last).last <= span(delta).first;
    if (isAfter && isJoined[index % isJoined.length]) groups.splice(-1, 1, merge(last, delta));
    else groups.push(delta);
  });
  return groups;
}
