import { describe, expect, test } from "vitest";
import { OptionsError, parseFlags } from "#dev/gguf-engine/options.ts";

const needed = ["--file", "m.gguf", "--model", "m"];

describe("flags of the GGUF engine", () => {
  test("have defaults but for file and name", () => {
    expect(parseFlags(needed)).toEqual({
      port: 0,
      path: "m.gguf",
      model: "m",
      contextTokensMax: 4_096,
      sequences: 4,
      isEndingWithParent: false,
    });
  });

  test.each([
    [["--model", "m"], "--file"],
    [["--file", "", "--model", "m"], "--file"],
    [["--file", "m.gguf"], "--model"],
    [["--file", "m.gguf", "--model", "sim/m"], "does not begin with sim/"],
    [["--file", "m.gguf", "--model", "a b"], "--model: got a b"],
    [[...needed, "--port", "65536"], "--port: got 65536"],
    [[...needed, "--sequences", "0"], "--sequences"],
    [[...needed, "--context-tokens-max", "1e3"], "--context-tokens-max"],
    [[...needed, "--threads", "2"], "--threads"],
    [[...needed, "stray"], "stray"],
  ])("refuse %j", (args, message) => {
    expect(() => parseFlags(args)).toThrow(OptionsError);
    expect(() => parseFlags(args)).toThrow(message);
  });
});
