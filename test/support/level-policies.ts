import { defaultLevelPolicy } from "#shared/overload/level-policy.ts";
import type { LevelPolicy, LevelRule } from "#shared/overload/level-policy.ts";

const never: LevelRule["enter"] = [];
const always: LevelRule["enter"] = [{ cause: "saturation", bound: -1, heldMs: 0 }];

/** A policy by which a cell is at `level` from its first look on, whatever its load. */
export function fixedLevel(level: 0 | 1 | 2 | 3 | 4): LevelPolicy {
  const { rules } = defaultLevelPolicy;
  const ruleOf = (at: 1 | 2 | 3 | 4): LevelRule => ({
    ...rules[at],
    enter: at === level ? always : never,
  });
  return {
    ...defaultLevelPolicy,
    rules: { 1: ruleOf(1), 2: ruleOf(2), 3: ruleOf(3), 4: ruleOf(4) },
  };
}
