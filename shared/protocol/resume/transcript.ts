import type { DeltaEvent, ToolCallDelta } from "../engine-event.ts";

/** What a regenerated piece is, measured against what was delivered before. */
export type AgreementVerdict =
  /** The client has it already. */
  | { readonly kind: "covered" }
  /** It goes beyond what the client has: this is the rest. */
  | { readonly kind: "released"; readonly delta: DeltaEvent }
  /** The client has something else in its place. */
  | { readonly kind: "diverged" };

/** Compares an answer that is generated again with what a client has of it. Stateful. */
export interface Agreement {
  accept(delta: DeltaEvent): AgreementVerdict;
  /** Whether all that the client has was generated again. */
  isCovered(): boolean;
}

/** What a choice says in one go: its reasoning, text, refusal, a tool call's name or arguments, or how it ended. */
interface Segment {
  readonly channel: "reasoning" | "text" | "refusal" | "name" | "arguments" | "finish";
  /** Index of the tool call; 0 for the other channels. */
  readonly index: number;
  readonly text: string;
}

/** The segments of a piece, in the order in which encoders take them. Ids of tool calls differ from run to run. */
function segmentsOf(delta: DeltaEvent): readonly Segment[] {
  const segments: Segment[] = [];
  const add = (channel: Segment["channel"], index: number, text: string | undefined): void => {
    if (text !== undefined && text !== "") segments.push({ channel, index, text });
  };
  add("reasoning", 0, delta.reasoning);
  add("text", 0, delta.text);
  add("refusal", 0, delta.refusal);
  for (const { index, name, arguments: text } of delta.toolCalls ?? []) {
    add("name", index, name);
    add("arguments", index, text);
  }
  add("finish", 0, delta.finishReason);
  return segments;
}

type Writable<T> = { -readonly [Key in keyof T]: T[Key] };

/** A piece of what is left of `delta`; its token ids and log probabilities belong to the whole and are left out. */
function deltaOf(delta: DeltaEvent, rests: readonly Segment[]): DeltaEvent {
  const rest: Writable<DeltaEvent> = { kind: "delta", choice: delta.choice };
  const calls = new Map<number, Writable<ToolCallDelta>>();
  for (const { channel, index, text } of rests) {
    if (channel === "finish") rest.finishReason = text;
    else if (channel !== "name" && channel !== "arguments") rest[channel] = text;
    else {
      const call = calls.get(index) ?? { index };
      calls.set(index, call);
      // A chunk may hold several pieces of one call.
      call[channel] = (call[channel] ?? "") + text;
      const id = delta.toolCalls?.find((piece) => piece.index === index)?.id;
      if (channel === "name" && id !== undefined) call.id = id;
    }
  }
  if (calls.size > 0) rest.toolCalls = [...calls.values()];
  return rest;
}

/** How far one choice was generated again. */
interface Progress {
  readonly segments: Segment[];
  /** The segment that comes next, and how much of it was generated again. */
  at: number;
  offset: number;
  /** Delivered pieces of nothing but log probabilities after the last segment that were not generated again. */
  silent: number;
}

/** Whether a piece has log probabilities alone: a token that is part of a character, say. */
function isSilent(delta: DeltaEvent, segments: readonly Segment[]): boolean {
  return segments.length === 0 && (delta.logprobs ?? null) !== null;
}

function isSameChannel(left: Segment, right: Segment): boolean {
  return left.channel === right.channel && left.index === right.index;
}

/** What of `segment` goes beyond what was delivered ("" for nothing), or null when it is not the same. */
function advance(progress: Progress, segment: Segment): string | null {
  const known = progress.segments[progress.at];
  if (known === undefined) return segment.text;
  if (!isSameChannel(known, segment)) return null;
  const expected = known.text.slice(progress.offset, progress.offset + segment.text.length);
  if (!segment.text.startsWith(expected)) return null;
  const rest = segment.text.slice(expected.length);
  const isOpenEnded = progress.at === progress.segments.length - 1 && known.channel !== "finish";
  if (rest !== "" && !isOpenEnded) return null;
  progress.offset += expected.length;
  if (progress.offset === known.text.length) {
    progress.at += 1;
    progress.offset = 0;
  }
  return rest;
}

/**
 * The agreement with `delivered`, whatever the chunks of either. A piece that lies across the end of what was delivered is
 * released with its rest, unless it carries log probabilities, which cannot be cut.
 */
export function createAgreement(delivered: readonly DeltaEvent[]): Agreement {
  const choices = new Map<number, Progress>();
  for (const delta of delivered) {
    const progress = choices.get(delta.choice) ?? { segments: [], at: 0, offset: 0, silent: 0 };
    choices.set(delta.choice, progress);
    const added = segmentsOf(delta);
    if (isSilent(delta, added)) progress.silent += 1;
    else if (added.length > 0) progress.silent = 0;
    for (const segment of added) {
      const last = progress.segments.at(-1);
      if (last === undefined || !isSameChannel(last, segment)) progress.segments.push(segment);
      else {
        const joined = { ...last, text: last.text + segment.text };
        progress.segments[progress.segments.length - 1] = joined;
      }
    }
  }
  return {
    accept(delta) {
      const progress = choices.get(delta.choice);
      if (progress === undefined) return { kind: "released", delta };
      const segments = segmentsOf(delta);
      const hasLogprobs = (delta.logprobs ?? null) !== null;
      if (progress.at >= progress.segments.length) {
        if (progress.silent === 0) return { kind: "released", delta };
        if (isSilent(delta, segments)) {
          progress.silent -= 1;
          return { kind: "covered" };
        }
        // Another cut of the same tokens would repeat log probabilities that the client has.
        if (segments.length > 0 && hasLogprobs) return { kind: "diverged" };
        if (segments.length > 0) progress.silent = 0;
        return { kind: "released", delta };
      }
      const rests: Segment[] = [];
      for (const segment of segments) {
        const rest = advance(progress, segment);
        if (rest === null) return { kind: "diverged" };
        if (rest !== "") rests.push({ ...segment, text: rest });
      }
      if (rests.length === 0) return { kind: "covered" };
      // How it ended has no log probabilities: they were delivered with the content.
      const isCut = rests.some(({ channel }) => channel !== "finish");
      if (hasLogprobs && isCut) return { kind: "diverged" };
      return { kind: "released", delta: deltaOf(delta, rests) };
    },
    isCovered: () => [...choices.values()].every(({ segments, at }) => at >= segments.length),
  };
}
