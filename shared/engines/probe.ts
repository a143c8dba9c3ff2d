import { abilityNames } from "../config/engine-abilities.ts";
import type { Ability, MetricsFamily, StatedAbilities } from "../config/engine-abilities.ts";
import { isFields } from "../protocol/engine/fields.ts";
import { metricsFamilyOf, parseLoadHeader } from "../routing/engine-load.ts";
import { promptTokensOf, readDocument, readStreamFacts, verdictOf } from "./probe-answer.ts";
import type { ProbeAnswers } from "./probe-answer.ts";
import { questionOf } from "./probe-question.ts";
import type { Question, QuestionId } from "./probe-question.ts";

/** What a probe found of one engine; null where it was not answered, or not asked because it is stated. */
export type Findings = Readonly<Record<Ability, boolean | null>> & {
  /** `none`: there are none that are known. */
  readonly metrics: MetricsFamily | "none" | null;
};

/** Longest text that names what answers. */
const identityCharactersMax = 512;

/**
 * What tells one server from another: its model's entry in the list and its version. `created` is left out: vLLM gives the
 * time of the call. Null when the server does not list its models as OpenAI does.
 */
export function identityOf(answers: ProbeAnswers, engineModel: string): string | null {
  const data = readDocument(answers.models)?.["data"];
  if (!Array.isArray(data)) return null;
  const entries = (data as readonly unknown[]).filter(isFields);
  const entry = entries.find(({ id }) => id === engineModel) ?? entries[0];
  const version = readDocument(answers.version)?.["version"] ?? null;
  const own = [entry?.["id"], entry?.["owned_by"], entry?.["root"], entry?.["max_model_len"]];
  return JSON.stringify([...own.map((part) => part ?? null), version]).slice(
    0,
    identityCharactersMax,
  );
}

function familyOf(answers: ProbeAnswers, stated: StatedAbilities): Findings["metrics"] {
  if (stated.metrics !== undefined) return stated.metrics;
  const verdict = verdictOf(answers.metrics);
  if (verdict === "none") return null;
  if (verdict !== "taken" || answers.metrics === undefined || answers.metrics === null)
    return "none";
  return metricsFamilyOf(answers.metrics.text) ?? "none";
}

function refusesThenTakes(
  answers: ProbeAnswers,
  wrong: QuestionId,
  right: QuestionId,
): boolean | null {
  const refused = verdictOf(answers[wrong]);
  if (refused === "none") return null;
  if (refused !== "refused") return false;
  const taken = verdictOf(answers[right]);
  return taken === "none" ? null : taken === "taken";
}

function findUsage(answers: ProbeAnswers): boolean | null {
  const verdict = verdictOf(answers.stream);
  if (verdict === "none") return null;
  if (verdict === "taken") return readStreamFacts(answers.stream).usage !== null;
  // A chat that is refused without the field too says nothing of the field.
  return verdictOf(answers.bareStream) === "taken" ? false : null;
}

function findLoadHeader(answers: ProbeAnswers): boolean | null {
  const answer = verdictOf(answers.stream) === "taken" ? answers.stream : answers.bareStream;
  if (verdictOf(answer) !== "taken") return null;
  const told = answer?.loadHeader ?? null;
  return told !== null && parseLoadHeader(told) !== null;
}

function findTokenIds(answers: ProbeAnswers): boolean | null {
  const verdict = verdictOf(answers.tokenIds);
  if (verdict === "none") return null;
  if (!namesTokens(answers)) return false;
  if (verdictOf(answers.tokenPrompt) === "none") return null;
  // An engine that added a token of its own would go on from another place.
  return promptTokensOf(answers.tokenPrompt) === promptIdsOf(answers).length;
}

function promptIdsOf(answers: ProbeAnswers): readonly number[] {
  return readStreamFacts(answers.tokenIds).promptTokenIds;
}

function namesTokens(answers: ProbeAnswers): boolean {
  const { promptTokenIds, tokenIds, usage } = readStreamFacts(answers.tokenIds);
  const isCounted = usage === null || usage.promptTokens === promptTokenIds.length;
  return promptTokenIds.length > 0 && tokenIds.length > 0 && isCounted;
}

/** A message that is left open has fewer tokens than the same one closed: an engine that ignores the field counts them alike. */
function findContinuation(answers: ProbeAnswers): boolean | null {
  const verdict = verdictOf(answers.continued);
  if (verdict === "none") return null;
  const open = promptTokensOf(answers.continued);
  if (verdict !== "taken" || open === null) return false;
  if (verdictOf(answers.closed) === "none") return null;
  const closed = promptTokensOf(answers.closed);
  return closed !== null && open < closed;
}

/** What the answers prove. What a rubbish answer could have proven is not proven. */
export function readFindings(answers: ProbeAnswers, stated: StatedAbilities): Findings {
  const metrics = familyOf(answers, stated);
  // SGLang's priorities run the other way unless it is told otherwise (docs.sglang.ai, server arguments, 2026).
  const priority =
    metrics === null
      ? null
      : metrics === "vllm" && refusesThenTakes(answers, "priorityRefused", "priorityTaken");
  const found = {
    tokenIds: findTokenIds(answers),
    continueFinalMessage: findContinuation(answers),
    cacheSalt: refusesThenTakes(answers, "saltRefused", "saltTaken"),
    priority,
    loadHeader: findLoadHeader(answers),
    usageInStream: findUsage(answers),
    metrics,
  };
  return hasNoChat(answers) ? withoutChat(found) : found;
}

/** Whether the server has no chat for this model, however it is asked: it serves embeddings, or none of our prompts. */
function hasNoChat(answers: ProbeAnswers): boolean {
  const isRefused = (id: QuestionId): boolean =>
    ["refused", "absent"].includes(verdictOf(answers[id]));
  return isRefused("stream") && (verdictOf(answers.stream) === "absent" || isRefused("bareStream"));
}

function withoutChat(found: Findings): Findings {
  const none = { tokenIds: false, continueFinalMessage: false, cacheSalt: false };
  return { ...found, ...none, priority: false, loadHeader: false, usageInStream: false };
}

/** When each question is asked, in this order: what protects tenants first, what only saves time last. */
const steps: readonly (readonly [
  QuestionId,
  (answers: ProbeAnswers, stated: StatedAbilities) => boolean,
])[] = [
  ["models", () => true],
  ["version", () => true],
  ["metrics", (_answers, { metrics }) => metrics === undefined],
  ["stream", (_answers, stated) => abilityNames.some((name) => stated[name] === undefined)],
  ["bareStream", ({ stream }) => verdictOf(stream) === "refused"],
  ["saltRefused", (_answers, { cacheSalt }) => cacheSalt === undefined],
  ["saltTaken", ({ saltRefused }) => verdictOf(saltRefused) === "refused"],
  ["tokenIds", (_answers, { tokenIds }) => tokenIds === undefined],
  ["tokenPrompt", namesTokens],
  ["continued", (_answers, stated) => stated.continueFinalMessage === undefined],
  ["closed", ({ continued }) => promptTokensOf(continued) !== null],
  [
    "priorityRefused",
    (answers, stated) => stated.priority === undefined && familyOf(answers, stated) === "vllm",
  ],
  ["priorityTaken", ({ priorityRefused }) => verdictOf(priorityRefused) === "refused"],
];

/** Questions without which an engine is not asked on: where one of them is not answered, the next ones would not be either. */
const isGeneration = (id: QuestionId): boolean => !["version", "metrics"].includes(id);

/**
 * What to ask next, one at a time, or null when the probe is over: all is asked, a question was not answered, or the server
 * has no chat. Thirteen questions at the most, ten of them with two tokens each.
 */
export function nextQuestion(
  answers: ProbeAnswers,
  engineModel: string,
  stated: StatedAbilities,
): Question | null {
  for (const [id, isWanted] of steps) {
    if (answers[id] === undefined) {
      if (!isWanted(answers, stated)) continue;
      const hasUsage = readStreamFacts(answers.stream).usage !== null;
      return questionOf(id, engineModel, hasUsage, promptIdsOf(answers));
    }
    if (id === "models" && identityOf(answers, engineModel) === null) return null;
    if (isGeneration(id) && verdictOf(answers[id]) === "none") return null;
    if (id === "bareStream" && hasNoChat(answers)) return null;
    if (id === "stream" && verdictOf(answers.stream) === "absent") return null;
  }
  return null;
}
