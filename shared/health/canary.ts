/** One answer to a canary prompt, as tokens or pieces. */
export type CanaryAnswer = readonly (number | string)[];

/** Share of the longer answer that both begin with: 1 for the same answer, 0 for nothing in common or for two empty ones. */
export function agreementOf(left: CanaryAnswer, right: CanaryAnswer): number {
  const longer = Math.max(left.length, right.length);
  if (longer === 0) return 0;
  let same = 0;
  while (same < longer && left[same] === right[same]) same += 1;
  return same / longer;
}

/** Answers agree from here on: engines differ in the last of a number, so that a long answer may part late. */
export const agreementMin = 0.9;
/** Failures in a row that quarantine a shard, and successes in a row that end it. */
const failuresMax = 2;
const successesMin = 2;

interface CanaryRecord {
  /** Its last answer to each prompt, and the last one that nobody contradicted. */
  readonly latest: ReadonlyMap<number, CanaryAnswer>;
  readonly accepted: ReadonlyMap<number, CanaryAnswer>;
  readonly failuresInRow: number;
  readonly successesInRow: number;
  readonly isQuarantined: boolean;
}

/** What the shards of one model and revision have answered. */
export interface CanaryBoard {
  readonly shards: ReadonlyMap<string, CanaryRecord>;
  /** To each prompt the last answer that two shards gave alike. */
  readonly references: ReadonlyMap<number, CanaryAnswer>;
}

/** The board with a reference from before its time; one that it has itself is younger and stays. */
export function withReference(
  board: CanaryBoard,
  prompt: number,
  answer: CanaryAnswer,
): CanaryBoard {
  if (board.references.has(prompt)) return board;
  return { ...board, references: new Map(board.references).set(prompt, answer) };
}

/** Nothing asked yet. */
export const newCanaryBoard: CanaryBoard = { shards: new Map(), references: new Map() };

const newRecord: CanaryRecord = {
  latest: new Map(),
  accepted: new Map(),
  failuresInRow: 0,
  successesInRow: 0,
  isQuarantined: false,
};

/** What a canary said of its shard. */
export type CanaryVerdict =
  | "agrees"
  | "disagrees"
  /** No answer. */
  | "failed"
  /** Too few others to compare with. */
  | "unknown";

/** Whether the last answer of another shard is the same. */
function isSeconded(
  { shards }: CanaryBoard,
  shard: string,
  prompt: number,
  answer: CanaryAnswer,
): boolean {
  return [...shards].some(([id, { latest }]) => {
    const other = id === shard ? undefined : latest.get(prompt);
    return other !== undefined && agreementOf(other, answer) >= agreementMin;
  });
}

/**
 * The verdict on an answer: every other shard has a vote, its last answer, and the shard itself has one, its last answer that
 * nobody contradicted, so that of two shards the one that changes its mind is found out. An answer that no other shard gives
 * meets the recorded one as well, so that two shards that go wrong one after the other, each in its way, are both found out;
 * shards that change together are not held to what they said before. The answer agrees when no other has more votes; it disagrees
 * when another has two or more.
 */
function judge(
  board: CanaryBoard,
  shard: string,
  prompt: number,
  answer: CanaryAnswer,
): CanaryVerdict {
  const votes: CanaryAnswer[] = [];
  for (const [id, { accepted, latest }] of board.shards) {
    const vote = (id === shard ? accepted : latest).get(prompt);
    if (vote !== undefined) votes.push(vote);
  }
  const reference = board.references.get(prompt);
  if (reference !== undefined && !isSeconded(board, shard, prompt, answer)) votes.push(reference);
  if (votes.length === 0) return "unknown";
  const votesFor = (one: CanaryAnswer): number =>
    votes.filter((vote) => agreementOf(vote, one) >= agreementMin).length;
  const own = votesFor(answer);
  const most = Math.max(...votes.map(votesFor));
  if (own >= most) return "agrees";
  return most >= 2 ? "disagrees" : "unknown";
}

/** The board after `shard` answered `prompt`; null: it gave no answer. */
export function observeCanary(
  board: CanaryBoard,
  shard: string,
  prompt: number,
  answer: CanaryAnswer | null,
): { readonly board: CanaryBoard; readonly verdict: CanaryVerdict } {
  const record = board.shards.get(shard) ?? newRecord;
  const verdict = answer === null ? "failed" : judge(board, shard, prompt, answer);
  const isGood = verdict === "agrees";
  const isBad = verdict === "disagrees" || verdict === "failed";
  const failuresInRow = isBad ? record.failuresInRow + 1 : isGood ? 0 : record.failuresInRow;
  const successesInRow = isGood ? record.successesInRow + 1 : isBad ? 0 : record.successesInRow;
  // No answer is the breaker's matter; only wrong ones quarantine.
  const isCaught = verdict === "disagrees" && failuresInRow >= failuresMax;
  const isFreed = successesInRow >= successesMin;
  const isQuarantined = isCaught || (record.isQuarantined && !isFreed);
  const latest = new Map(record.latest);
  const accepted = new Map(record.accepted);
  if (answer !== null) latest.set(prompt, answer);
  if (answer !== null && verdict !== "disagrees") accepted.set(prompt, answer);
  const shards = new Map(board.shards).set(shard, {
    latest,
    accepted,
    failuresInRow,
    successesInRow,
    isQuarantined,
  });
  const references = new Map(board.references);
  if (answer !== null && isGood && isSeconded(board, shard, prompt, answer)) {
    references.set(prompt, answer);
  }
  return { board: { shards, references }, verdict };
}

/** Whether the shard's answers were wrong, and have not been right since. */
export function isQuarantined(board: CanaryBoard, shard: string): boolean {
  return board.shards.get(shard)?.isQuarantined ?? false;
}
