import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { killAll, runScript } from "./dev-process.ts";

/** What a drill writes for programs. */
interface Report {
  readonly isPassed: boolean;
  readonly checks: readonly { readonly name: string; readonly isOk: boolean }[];
}

const folder = mkdtempSync(join(tmpdir(), "meridian-drills-"));
/** The start of a system on a busy machine, and the time that the checks give it. */
const drillMsMax = 480_000;
const short = ["--baseline-seconds", "6", "--fault-seconds", "5"];

afterAll(() => {
  for (const pid of runningIn(folder)) process.kill(pid, "SIGKILL");
  killAll([]);
});

/** Runs a drill whose temporary files, and those of all that it starts, lie in a folder of its own. */
async function runDrill(name: string, ...more: readonly string[]) {
  const own = join(folder, `${name}-${more.length}`);
  mkdirSync(own);
  const environment = { TMPDIR: own };
  const args = ["drill", "--", name, "--out", join(own, "out"), ...short, ...more];
  const { code, output } = await runScript(args, { environment });
  const path = join(own, "out", `${name}.json`);
  const report = existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Report) : null;
  return { own, code, output, report };
}

/** The state folders of drills in `path`; npm keeps a cache of its own there. */
function statesIn(path: string): readonly string[] {
  return readdirSync(path).filter((name) => name.startsWith("meridian-"));
}

/** The processes whose temporary folder lies in `path`: what a drill started, and what that started. */
function runningIn(path: string): readonly number[] {
  return readdirSync("/proc")
    .filter((name) => /^[0-9]+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, "utf8").includes(`TMPDIR=${path}`);
      } catch {
        return false;
      }
    })
    .map(Number);
}

describe("a drill", { timeout: drillMsMax }, () => {
  it("shows a system that bears a slow shard, and leaves nothing behind", async () => {
    const { code, output, own, report } = await runDrill("slow");
    expect(report?.checks.filter(({ isOk }) => !isOk) ?? output).toEqual([]);
    expect(report?.isPassed).toBe(true);
    expect(code).toBe(0);
    expect(readFileSync(join(own, "out", "slow.md"), "utf8")).toContain("# Drill slow: passed");
    expect(runningIn(own)).toEqual([]);
    expect(statesIn(own)).toEqual([]);
  });

  it("fails when the fault never ends, and leaves nothing behind all the same", async () => {
    const more = ["--keep-fault", "--watch-seconds", "15"];
    const { code, output, own, report } = await runDrill("third", ...more);
    expect(output).toContain("# Drill third: FAILED");
    expect(code).toBe(1);
    expect(report?.isPassed).toBe(false);
    const failed = report?.checks.filter(({ isOk }) => !isOk).map(({ name }) => name);
    expect(failed).toContain("every shard is in use at the end");
    expect(failed).not.toContain("nothing that the drill started is left running");
    expect(runningIn(own)).toEqual([]);
  });

  it("refuses a name that it does not know, before it starts anything", async () => {
    const { code, output, own } = await runDrill("nowhere");
    expect(code).toBe(2);
    expect(output).toContain('NAME: got "nowhere", wanted one of third');
    expect(statesIn(own)).toEqual([]);
  });

  it("lists its names", async () => {
    const { code, output } = await runScript(["drill", "--", "--list"]);
    expect(code).toBe(0);
    expect(output).toMatch(/^third +a third of the shards/m);
  });
});
