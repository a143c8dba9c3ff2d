/** Flags of the engine process. */
import { parseArgs } from "node:util";
import { dialectAbilities, isDialectAbility, type DialectAbility } from "./http/dialect.ts";
import { blockTokens } from "./model/block-cache.ts";
import type { WhileCold } from "./platform.ts";
import { isProfileName, profiles, type ProfileName } from "./model/profiles.ts";

export interface EngineOptions {
  /** 0 asks for a free port. */
  readonly port: number;
  /** Must begin with `sim/`, so that it never passes for a real model. */
  readonly model: string;
  readonly revision: string;
  readonly profile: ProfileName;
  /** Seeds noise and fault probabilities; never the text. */
  readonly seed: number;
  readonly speed: number;
  readonly coldStartMs: number;
  /** Idle time after which its platform takes the engine down, ms; 0: never. */
  readonly scaleToZeroMs: number;
  readonly whileCold: WhileCold;
  readonly concurrentMax: number;
  readonly kvTokens: number;
  readonly contextTokensMax: number;
  readonly apiKey: string | undefined;
  readonly isNoisy: boolean;
  /** Abilities that it does without. */
  readonly without: readonly DialectAbility[];
  /** Refuses the fields of what it does without, instead of ignoring them. */
  readonly isStrict: boolean;
  readonly isEndingWithParent: boolean;
}

/** What a caller may leave out; the rest has defaults. */
export type EngineOptionsInput = {
  readonly [K in keyof EngineOptions]?: EngineOptions[K] | undefined;
};

/** Context of Llama 3.1 (model card). */
const contextTokensDefault = 131_072;

/** Wrong flags or options; the text says which, what came and what was wanted. */
export class OptionsError extends Error {
  override name = "OptionsError";
}

function check(isGood: boolean, name: string, got: unknown, wanted: string): void {
  if (!isGood) throw new OptionsError(`--${name}: got ${String(got)}, wanted ${wanted}`);
}

/** Fills in defaults and checks every option. @throws OptionsError. */
export function resolveOptions(input: EngineOptionsInput): EngineOptions {
  const profile = input.profile ?? "h100-8b";
  const kvTokens = input.kvTokens ?? profiles[profile].kvTokens;
  const kvTokensUsable = Math.floor(kvTokens / blockTokens) * blockTokens;
  const options: EngineOptions = {
    port: input.port ?? 0,
    model: input.model ?? "sim/llama-3.1-8b-instruct",
    revision: input.revision ?? "0e9e39f",
    profile,
    seed: input.seed ?? 1,
    speed: input.speed ?? 1,
    coldStartMs: input.coldStartMs ?? 0,
    scaleToZeroMs: input.scaleToZeroMs ?? 0,
    whileCold: input.whileCold ?? "refuse",
    concurrentMax: input.concurrentMax ?? 64,
    kvTokens,
    contextTokensMax: input.contextTokensMax ?? Math.min(contextTokensDefault, kvTokensUsable),
    apiKey: input.apiKey,
    isNoisy: input.isNoisy ?? false,
    without: input.without ?? [],
    isStrict: input.isStrict ?? false,
    isEndingWithParent: input.isEndingWithParent ?? false,
  };
  const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 1;
  check(
    Number.isInteger(options.port) && options.port >= 0 && options.port <= 65_535,
    "port",
    options.port,
    "0 to 65535",
  );
  check(
    /^sim\/[\w.-]+$/u.test(options.model),
    "model",
    options.model,
    "a name that begins with sim/",
  );
  check(
    /^[\w.-]+$/u.test(options.revision),
    "revision",
    options.revision,
    "letters, digits, '.', '_' or '-'",
  );
  check(Number.isSafeInteger(options.seed), "seed", options.seed, "an integer");
  check(
    options.speed > 0 && options.speed <= 10_000,
    "speed",
    options.speed,
    "a number above 0, at most 10000",
  );
  check(
    options.coldStartMs >= 0 && options.coldStartMs <= 3_600_000,
    "cold-start-ms",
    options.coldStartMs,
    "0 to 3600000",
  );
  check(
    options.scaleToZeroMs >= 0 && options.scaleToZeroMs <= 86_400_000,
    "scale-to-zero-ms",
    options.scaleToZeroMs,
    "0 to 86400000",
  );
  check(
    isCount(options.concurrentMax),
    "concurrent-max",
    options.concurrentMax,
    "a positive integer",
  );
  check(
    isCount(kvTokens) && kvTokensUsable >= blockTokens,
    "kv-tokens",
    kvTokens,
    `an integer of at least ${blockTokens}`,
  );
  check(
    isCount(options.contextTokensMax) && options.contextTokensMax <= kvTokensUsable,
    "context-tokens-max",
    options.contextTokensMax,
    `a positive integer of at most the KV tokens, ${kvTokensUsable}`,
  );
  return options;
}

const flags = {
  port: { type: "string" },
  model: { type: "string" },
  revision: { type: "string" },
  profile: { type: "string" },
  seed: { type: "string" },
  speed: { type: "string" },
  "cold-start-ms": { type: "string" },
  "scale-to-zero-ms": { type: "string" },
  "while-cold": { type: "string" },
  "concurrent-max": { type: "string" },
  "kv-tokens": { type: "string" },
  "context-tokens-max": { type: "string" },
  "api-key": { type: "string" },
  noise: { type: "boolean" },
  without: { type: "string" },
  strict: { type: "boolean" },
  "exit-with-parent": { type: "boolean" },
} as const;

/** Reads the command line. Unknown flags and values that make no sense are refused. @throws OptionsError. */
export function parseFlags(args: readonly string[]): EngineOptions {
  let values: ReturnType<typeof read>;
  try {
    values = read(args);
  } catch (error) {
    const known = Object.keys(flags).map((name) => `--${name}`);
    const message = error instanceof Error ? error.message : String(error);
    throw new OptionsError(`${message}\nKnown flags: ${known.join(" ")}`);
  }
  const number = (text: string | undefined): number | undefined =>
    text === undefined ? undefined : text.trim() === "" ? Number.NaN : Number(text);
  const profile = values.profile;
  if (profile !== undefined && !isProfileName(profile))
    throw new OptionsError(
      `--profile: got ${profile}, wanted one of ${Object.keys(profiles).join(", ")}`,
    );
  const whileCold = values["while-cold"];
  if (whileCold !== undefined && whileCold !== "refuse" && whileCold !== "hold")
    throw new OptionsError(`--while-cold: got ${whileCold}, wanted refuse or hold`);
  return resolveOptions({
    port: number(values.port),
    model: values.model,
    revision: values.revision,
    profile,
    seed: number(values.seed),
    speed: number(values.speed),
    coldStartMs: number(values["cold-start-ms"]),
    scaleToZeroMs: number(values["scale-to-zero-ms"]),
    whileCold,
    concurrentMax: number(values["concurrent-max"]),
    kvTokens: number(values["kv-tokens"]),
    contextTokensMax: number(values["context-tokens-max"]),
    apiKey: values["api-key"],
    isNoisy: values.noise,
    without: abilities(values.without),
    isStrict: values.strict,
    isEndingWithParent: values["exit-with-parent"],
  });
}

function abilities(text: string | undefined): readonly DialectAbility[] {
  const names = text === undefined ? [] : text.split(",");
  const unknown = names.find((name) => !isDialectAbility(name));
  if (unknown !== undefined)
    throw new OptionsError(
      `--without: got ${unknown}, wanted a list of ${dialectAbilities.join(", ")}`,
    );
  return names.filter(isDialectAbility);
}

function read(args: readonly string[]) {
  return parseArgs({ args: [...args], options: flags, strict: true, allowPositionals: false })
    .values;
}
