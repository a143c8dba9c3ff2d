import { hash32, Random } from "../random.ts";
import { canaryOf } from "../checkers/recorder.ts";

const words = [
  "the ",
  "river ",
  "über ",
  "日本 ",
  "data: [DONE]\n\n",
  "stone ",
  "🙂 ",
  "a",
  "b ",
  "\r\n",
];

/** The answer that every healthy shard gives to a prompt, token by token. `sample` tells another sample of it. */
export function answerTokens(zone: string, promptKey: number, sample = ""): readonly string[] {
  const random = new Random(hash32(sample, promptKey), "answer");
  const count = random.between(1, 24);
  const tokens: string[] = [`${canaryOf(zone)} `];
  for (let index = 0; index < count; index += 1) tokens.push(random.pick(words));
  return tokens;
}
