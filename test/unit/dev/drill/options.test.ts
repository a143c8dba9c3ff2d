import { describe, expect, it } from "vitest";
import { DrillUsageError, drillNames, parseDrillOptions } from "#dev/drill/options.ts";

function refusal(...args: readonly string[]): string {
  try {
    parseDrillOptions(args);
  } catch (error) {
    if (error instanceof DrillUsageError) return error.message;
    throw error;
  }
  return "accepted";
}

describe("the command line of drills", () => {
  it("takes a name and fills in the rest", () => {
    expect(parseDrillOptions(["third"])).toEqual({
      drills: ["third"],
      attachPath: null,
      outPath: null,
      seed: 1,
      baselineSeconds: 20,
      faultSeconds: 30,
      watchSeconds: null,
      isFaultKept: false,
    });
  });

  it("takes every option", () => {
    const args = ["slow", "--attach", "a.json", "--out", "o", "--seed", "7"];
    const more = ["--baseline-seconds", "5", "--fault-seconds", "600", "--keep-fault"];
    const rest = ["--watch-seconds", "60"];
    expect(parseDrillOptions([...args, ...more, ...rest])).toEqual({
      drills: ["slow"],
      attachPath: "a.json",
      outPath: "o",
      seed: 7,
      baselineSeconds: 5,
      faultSeconds: 600,
      watchSeconds: 60,
      isFaultKept: true,
    });
  });

  it("runs every drill for the name all", () => {
    expect(parseDrillOptions(["all"])).toMatchObject({ drills: drillNames });
  });

  it("needs no name for --list and --help", () => {
    expect(parseDrillOptions(["--list"])).toBe("list");
    expect(parseDrillOptions(["--help", "--list"])).toBe("help");
  });

  it.each([
    [["nowhere"], 'NAME: got "nowhere", wanted one of third'],
    [[], "NAME: got nothing"],
    [["third", "slow"], 'NAME: got "third slow"'],
    [["third", "--seed", "-1"], "--seed"],
    [["third", "--seed", "2147483648"], '--seed: got "2147483648"'],
    [["third", "--fault-seconds", "4"], "wanted a whole number from 5 to 600"],
    [["third", "--fault-seconds", "601"], "wanted a whole number from 5 to 600"],
    [["third", "--baseline-seconds", "x"], '--baseline-seconds: got "x"'],
    [["third", "--watch-seconds", "0"], '--watch-seconds: got "0"'],
    [["third", "--out", ""], "--out: got nothing, wanted a folder"],
    [["third", "--attach", ""], "--attach: got nothing"],
    [["third", "--seed", "1", "--seed", "2"], "--seed: given twice"],
    [["third", "--speed", "1"], "--speed"],
  ])("refuses %j", (args, text) => {
    expect(refusal(...args)).toContain(text);
  });
});
