import type { DeltaEvent, ToolCallDelta } from "../engine-event.ts";

/** What a regenerated piece is, measured against what was delivered before. */
export type AgreementVerdict =
  | { readonly kind: "covered" }
  | { readonly kind: "released"; readonly delta: DeltaEvent }
  | { readonly kind: "diverged" };

/** Compares an answer that is generated again with what a client has of it. Stateful; linear in what is compared. */
export interface Agreement {
  accept(delta: DeltaEvent): AgreementVerdict;
  isCovered(): boolean;
}

interface Segment {
  readonly channel: string;
  text: string;
}

function partsOf(delta: DeltaEvent): readonly Segment[] {
  const parts: Segment[] = [];
  if (delta.reasoning) parts.push({ channel: "reasoning", text: delta.reasoning });
  if (delta.text) parts.push({ channel: "text", text: delta.text });
  if (delta.refusal) parts.push({ channel: "refusal", text: delta.refusal });
  for (const call of delta.toolCalls ?? []) {
    if (call.name !== undefined) parts.push({ channel: `name${call.index}`, text: call.name });
    if (call.arguments) parts.push({ channel: `arguments${call.index}`, text: call.arguments });
  }
  if (delta.finishReason !== undefined) parts.push({ channel: "finish", text: delta.finishReason });
  return parts;
}

function restOf(delta: DeltaEvent, rests: readonly Segment[]): DeltaEvent {
  const rest: { -readonly [Key in keyof DeltaEvent]: DeltaEvent[Key] } = {
    kind: "delta",
    choice: delta.choice,
  };
  const calls = new Map<number, { -readonly [Key in keyof ToolCallDelta]: ToolCallDelta[Key] }>();
  const callOf = (index: number) => {
    const known = calls.get(index) ?? { index };
    calls.set(index, known);
    return known;
  };
  for (const { channel, text } of rests) {
    if (channel === "reasoning") rest.reasoning = text;
    else if (channel === "text") rest.text = text;
    else if (channel === "refusal") rest.refusal = text;
    else if (channel === "finish") rest.finishReason = text;
    else if (channel.startsWith("name")) {
      const call = callOf(Number(channel.slice(4)));
      call.name = text;
      const id = delta.toolCalls?.find(({ index }) => index === call.index)?.id;
      if (id !== undefined) call.id = id;
    } else callOf(Number(channel.slice(9))).arguments = text;
  }
  if (calls.size > 0) rest.toolCalls = [...calls.values()];
  return rest;
}

export function createAgreement(delivered: readonly DeltaEvent[]): Agreement {
  const choices = new Map<number, { segments: Segment[]; at: number; offset: number }>();
  for (const delta of delivered) {
    const choice = choices.get(delta.choice) ?? { segments: [], at: 0, offset: 0 };
    choices.set(delta.choice, choice);
    for (const part of partsOf(delta)) {
      const last = choice.segments.at(-1);
      if (last !== undefined && last.channel === part.channel) last.text += part.text;
      else choice.segments.push({ ...part });
    }
  }
  return {
    accept(delta) {
      const choice = choices.get(delta.choice);
      const isDone = choice === undefined || choice.at >= choice.segments.length;
      if (choice === undefined || isDone) return { kind: "released", delta };
      const rests: Segment[] = [];
      let hasCovered = false;
      for (const part of partsOf(delta)) {
        const segment = choice.segments[choice.at];
        if (segment === undefined) {
          rests.push(part);
          continue;
        }
        if (segment.channel !== part.channel) return { kind: "diverged" };
        const expected = segment.text.slice(choice.offset, choice.offset + part.text.length);
        const isLast = choice.at === choice.segments.length - 1;
        if (!part.text.startsWith(expected)) return { kind: "diverged" };
        if (expected.length < part.text.length && !isLast) return { kind: "diverged" };
        if (part.channel === "finish" && expected !== part.text) return { kind: "diverged" };
        choice.offset += expected.length;
        hasCovered = true;
        if (
          choice.offset === segment.text.length &&
          !(isLast && part.channel === "text" && false)
        ) {
          choice.at += 1;
          choice.offset = 0;
        }
        if (expected.length < part.text.length)
          rests.push({ channel: part.channel, text: part.text.slice(expected.length) });
      }
      if (rests.length === 0) return { kind: "covered" };
      if (hasCovered && delta.logprobs !== undefined) return { kind: "diverged" };
      return { kind: "released", delta: restOf(delta, rests) };
    },
    isCovered: () => [...choices.values()].every(({ segments, at }) => at >= segments.length),
  };
}
