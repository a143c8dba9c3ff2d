/** Flags of the engine process. */
import { parseArgs } from "node:util";

export interface GgufOptions {
  /** 0 asks for a free port. */
  readonly port: number;
  /** The GGUF file. */
  readonly path: string;
  /** The name that it is served by. */
  readonly model: string;
  readonly contextTokensMax: number;
  /** Prompts that run at once. */
  readonly sequences: number;
  readonly isEndingWithParent: boolean;
}

/** Wrong flags; the text says which, what came and what was wanted. */
export class OptionsError extends Error {
  override name = "OptionsError";
}

const contextTokensDefault = 4_096;
const sequencesDefault = 4;

const flags = {
  file: { type: "string" },
  model: { type: "string" },
  port: { type: "string" },
  "context-tokens-max": { type: "string" },
  sequences: { type: "string" },
  "exit-with-parent": { type: "boolean" },
} as const;

/** Reads the command line. Unknown flags and values that make no sense are refused. @throws OptionsError. */
export function parseFlags(args: readonly string[]): GgufOptions {
  const values = read(args);
  const { file, model } = values;
  if (file === undefined || file === "")
    throw new OptionsError("--file: got nothing, wanted a GGUF file");
  if (model === undefined || !isModelName(model))
    throw new OptionsError(
      `--model: got ${model ?? "nothing"}, wanted a name that does not begin with sim/`,
    );
  return {
    port: whole("port", values.port ?? "0", 0, 65_535),
    path: file,
    model,
    contextTokensMax: whole(
      "context-tokens-max",
      values["context-tokens-max"] ?? String(contextTokensDefault),
      64,
      1_000_000,
    ),
    sequences: whole("sequences", values.sequences ?? String(sequencesDefault), 1, 64),
    isEndingWithParent: values["exit-with-parent"] ?? false,
  };
}

/** Names of models as the topology has them; those of simulated engines are theirs alone. */
function isModelName(name: string): boolean {
  return /^[a-zA-Z0-9][a-zA-Z0-9._/:@-]{0,127}$/.test(name) && !name.startsWith("sim/");
}

function whole(name: string, text: string, min: number, max: number): number {
  const value = /^\d{1,7}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max))
    throw new OptionsError(`--${name}: got ${text}, wanted a whole number from ${min} to ${max}`);
  return value;
}

function read(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: flags, strict: true, allowPositionals: false })
      .values;
  } catch (error) {
    throw new OptionsError(error instanceof Error ? error.message : String(error));
  }
}
