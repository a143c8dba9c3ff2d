import type { RunReport } from "./measure.ts";
import type { CellReport } from "./replay.ts";

type Read = (cell: CellReport) => number;

/** Share of the time at the level or above. */
function atLeast(level: number): Read {
  return ({ levels: { secondsAt } }) => {
    const all = secondsAt.reduce((sum, seconds) => sum + seconds, 0);
    return secondsAt.slice(level).reduce((sum, seconds) => sum + seconds, 0) / Math.max(1, all);
  };
}

const read: Readonly<Record<string, Read>> = {
  retries: ({ tries }) => tries.retries,
  retriesRefused: ({ tries }) => tries.retriesRefused,
  givenUpLate: ({ tries }) => tries.late,
  givenUpOverdue: ({ tries }) => tries.overdue,
  givenUpStalled: ({ tries }) => tries.stalled,
  givenUpPrefillShare: ({ tries }) => tries.latePrefillTokens / Math.max(1, tries.promptTokens),
  hedgeShare: ({ tries: { hedges, turns } }) =>
    (hedges.won + hedges.lost + hedges.failed + hedges.replaced + hedges.dropped) /
    Math.max(1, turns),
  hedgesWon: ({ tries }) => tries.hedges.won,
  hedgesLost: ({ tries }) => tries.hedges.lost,
  hedgePromptShare: ({ tries }) => tries.hedgePromptTokens / Math.max(1, tries.promptTokens),
  hedgeWastedPrefillShare: ({ tries }) => tries.hedgeWastedTokens / Math.max(1, tries.promptTokens),
  timeAtLevel1: atLeast(1),
  timeAtLevel2: atLeast(2),
  timeAtLevel3: atLeast(3),
  timeAtLevel4: atLeast(4),
  levelChanges: ({ levels }) => levels.changes.length,
  levelRefusedBatch: ({ levels }) => levels.refused.batchRejected,
  levelRefusedNew: ({ levels }) => levels.refused.newRefused,
  levelRefusedOnlyCritical: ({ levels }) => levels.refused.onlyCritical,
  levelRefusedMTokens: ({ levels }) => levels.refusedWorkTokens / 1e6,
  levelAnswersCut: ({ levels }) => levels.answersCut,
  levelSavedOutputMTokens: ({ levels }) => levels.savedOutputTokens / 1e6,
  levelHistoriesCut: ({ levels }) => levels.historiesCut,
  levelSavedPromptMTokens: ({ levels }) => levels.savedPromptTokens / 1e6,
  levelSmallerAnswers: ({ levels }) => levels.smallerAnswers,
  levelHedgesHeld: ({ levels }) => levels.hedgesHeld,
  levelBatchDeferred: ({ levels }) => levels.batchDeferred,
  levelDeferredSeconds: ({ levels }) => levels.deferredSeconds,
  shardsEjected: ({ health }) => health.changes.filter(({ weight }) => weight === 0).length,
  canaryTokens: ({ health }) => health.canaryTokens,
};

/** Figures of a whole cell; null where the run had none. */
export const cellFigures: Readonly<Record<string, (report: RunReport) => number | null>> =
  Object.fromEntries(
    Object.entries(read).map(([name, of]) => [
      name,
      ({ cell }: RunReport) => (cell === null ? null : of(cell)),
    ]),
  );
