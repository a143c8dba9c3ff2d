import { describe, it } from "vitest";
import { fixedLevel } from "#test/support/level-policies.ts";
import { hangsAfter } from "#test/support/fake-engine.ts";
import { aCell, aTurn, until } from "./harness.ts";

async function levelOf(url: string): Promise<string | undefined> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return /^meridian_overload_level (\d)$/m.exec(text)?.[1];
}

describe("a cell's degradation level", () => {
  it("is 0 without load, in the answer's header, in the metrics and for operators", async ({
    expect,
  }) => {
    const cell = await aCell();
    const answer = await cell.put(aTurn({}, { stream: false }));
    expect(answer.headers.get("x-meridian-level")).toBe("0");
    expect(await levelOf(cell.url)).toBe("0");
    const state = await cell.call("GET", "/internal/cell");
    expect(await state.json()).toMatchObject({ level: 0, healthyShare: 1, queueDelay: 0 });
  });

  it("is told by every answer about a turn, a refusal too, and logged when it changes", async ({
    expect,
  }) => {
    const cell = await aCell({ overrides: { levelPolicy: fixedLevel(2) } });
    const answer = await cell.put(aTurn());
    expect(answer.headers.get("x-meridian-level")).toBe("2");
    await answer.text();
    expect(await levelOf(cell.url)).toBe("2");
    expect(cell.logLines.filter((line) => line.includes("level_changed"))).toHaveLength(1);
    await cell.drain(0);
    const refused = await cell.put(aTurn({}, { stream: false }));
    expect(refused.status).toBe(503);
    expect(refused.headers.get("x-meridian-level")).toBe("2");
  });

  it("rises with the wait in the queue", async ({ expect }) => {
    const cell = await aCell({
      engines: 1,
      concurrentRequestsMax: 1,
      overrides: {
        queuePolicy: { waitMsMax: { critical: 9e4, interactive: 9e4, standard: 9e4, batch: 9e4 } },
      },
    });
    for (const engine of cell.engines) engine.answer = hangsAfter("x");
    void cell.put(aTurn());
    void cell.put(aTurn()).catch(() => undefined);
    await until(async () => {
      const text = await (await fetch(`${cell.url}/metrics`)).text();
      return /meridian_overload_input\{input="queueDelay"\} 0\.[1-9]/.test(text);
    });
    expect(await levelOf(cell.url)).toBeDefined();
  });
});
