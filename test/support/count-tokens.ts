/**
 * Counts the tokens of test/unit/shared/protocol/openai/token-samples.json with real vocabularies and prints them for
 * token-counts.json there; docs/decisions/0011 says how. The vocabularies are no dependency of the project: they are named
 * on the command line, as `name=module`.
 */
import { readFileSync } from "node:fs";

type Count = (text: string) => number;

/** What the tokenizer packages have in common: `encode`, on the module, its default export, or made by it. */
interface Encoder {
  encode(text: string, options?: object): ArrayLike<number>;
}

async function countOf(specifier: string): Promise<Count> {
  const module = (await import(specifier)) as Partial<Encoder> & {
    readonly default?: Encoder & { readonly default?: Encoder };
    readonly fromPreTrained?: () => Encoder;
  };
  const encoder = module.fromPreTrained?.() ?? module.default?.default ?? module.default ?? module;
  const options = { bos: false, eos: false, add_special_tokens: false };
  return (text) => {
    if (encoder.encode === undefined) throw new Error(`${specifier} has no encode()`);
    const isPlain = specifier.startsWith("gpt-tokenizer");
    return (isPlain ? encoder.encode(text) : encoder.encode(text, options)).length;
  };
}

const samples = JSON.parse(
  readFileSync("test/unit/shared/protocol/openai/token-samples.json", "utf8"),
) as Record<string, string>;
const counts: Record<string, Record<string, number>> = {};
for (const argument of process.argv.slice(2)) {
  const [name = "", specifier = ""] = argument.split("=");
  const count = await countOf(specifier);
  for (const [title, text] of Object.entries(samples)) {
    counts[title] = { ...counts[title], [name]: count(text) };
  }
}
process.stdout.write(`${JSON.stringify(counts, null, 2)}\n`);
