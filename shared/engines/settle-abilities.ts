import { abilityNames, plainAbilities } from "../config/engine-abilities.ts";
import type {
  EngineAbilities,
  KnownAbilities,
  StatedAbilities,
} from "../config/engine-abilities.ts";
import type { Findings } from "./probe.ts";

/** What goes with the topology alone, before anything was asked. */
export function knownWithoutProbe(stated: StatedAbilities): KnownAbilities {
  const isWhole =
    stated.metrics !== undefined && abilityNames.every((name) => stated[name] !== undefined);
  return {
    abilities: withStated(plainAbilities, stated),
    source: isWhole ? "stated" : "unknown",
  };
}

/**
 * What is used from now on. The topology wins; what was not answered stays as `before` has it, which is what an earlier
 * probe of the same server proved, or OpenAI's API alone.
 */
export function settleAbilities(
  findings: Findings,
  stated: StatedAbilities,
  before: EngineAbilities = plainAbilities,
): KnownAbilities {
  const { metrics } = findings;
  const found = abilityNames.map((name) => [name, findings[name] ?? before[name]] as const);
  const abilities: EngineAbilities = {
    ...before,
    ...(Object.fromEntries(found) as Omit<EngineAbilities, "metrics">),
    metrics: metrics === null ? before.metrics : metrics === "none" ? null : metrics,
  };
  const isOpen = abilityNames.some((name) => stated[name] === undefined && findings[name] === null);
  const isMetricsOpen = stated.metrics === undefined && metrics === null;
  return {
    abilities: withStated(abilities, stated),
    source: isOpen || isMetricsOpen ? "partly" : "probed",
  };
}

function withStated(abilities: EngineAbilities, stated: StatedAbilities): EngineAbilities {
  const { metrics, ...own } = stated;
  const given = Object.fromEntries(
    Object.entries(own).filter(([, value]) => value !== undefined),
  ) as Partial<Omit<EngineAbilities, "metrics">>;
  return {
    ...abilities,
    ...given,
    ...(metrics === undefined ? {} : { metrics: metrics === "none" ? null : metrics }),
  };
}

/** Its proven abilities in one line, for logs: `tokenIds cacheSalt metrics=vllm`; `none` when there is none. */
export function describeAbilities({ metrics, ...own }: EngineAbilities): string {
  const proven: string[] = abilityNames.filter((name) => own[name]);
  if (metrics !== null) proven.push(`metrics=${metrics}`);
  return proven.length === 0 ? "none" : proven.join(" ");
}
