import { describe, it } from "vitest";
import { OptionsError, parseFlags } from "#dev/simulated-engine/options.ts";

describe("flags", () => {
  it("reads all of them", ({ expect }) => {
    const options = parseFlags(
      "--port 0 --model sim/m --revision r --profile a100-8b --seed 3 --speed 10 --cold-start-ms 5 --scale-to-zero-ms 60000 --while-cold hold --concurrent-max 8 --kv-tokens 32000 --context-tokens-max 16000 --api-key K --noise --without cacheSalt,metrics --strict --exit-with-parent".split(
        " ",
      ),
    );
    expect(options).toEqual({
      port: 0,
      model: "sim/m",
      revision: "r",
      profile: "a100-8b",
      seed: 3,
      speed: 10,
      coldStartMs: 5,
      scaleToZeroMs: 60_000,
      whileCold: "hold",
      concurrentMax: 8,
      kvTokens: 32_000,
      contextTokensMax: 16_000,
      apiKey: "K",
      isNoisy: true,
      without: ["cacheSalt", "metrics"],
      isStrict: true,
      isEndingWithParent: true,
    });
  });
  it("takes memory and context from the profile", ({ expect }) => {
    expect(parseFlags(["--profile", "l4-8b"])).toMatchObject({
      kvTokens: 30_000,
      contextTokensMax: 30_000,
    });
    expect(parseFlags([])).toMatchObject({ kvTokens: 420_000, contextTokensMax: 131_072 });
  });
  it.for([
    ["--nonsense", "1"],
    ["stray"],
    ["--model", "llama-3.1-8b-instruct"],
    ["--profile", "tpu"],
    ["--port", "70000"],
    ["--port", "x"],
    ["--port", ""],
    ["--speed", "0"],
    ["--concurrent-max", "0"],
    ["--kv-tokens", "15"],
    ["--kv-tokens", "1000", "--context-tokens-max", "1001"],
    ["--seed", "1.5"],
    ["--cold-start-ms", "-1"],
    ["--scale-to-zero-ms", "-1"],
    ["--while-cold", "sleep"],
    ["--without", "thought"],
    ["--without", ""],
  ])("refuses %j", (args, { expect }) => {
    expect(() => parseFlags(args)).toThrow(OptionsError);
  });
  it("says which flag, what it got and what it wanted", ({ expect }) => {
    expect(() => parseFlags(["--model", "gpt"])).toThrow(
      "--model: got gpt, wanted a name that begins with sim/",
    );
    expect(() => parseFlags(["--nonsense"])).toThrow("Known flags: --port");
  });
});
