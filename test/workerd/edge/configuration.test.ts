import { createExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, expect, it, vi } from "vitest";
import worker from "#edge/index.ts";
import { testKeys } from "#test/support/edge-keys.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

it("serves nothing with a broken configuration, and the log names path, got and wanted", async () => {
  const lines: string[] = [];
  vi.spyOn(console, "log").mockImplementation((line: string) => lines.push(line));
  const broken = { ...env, IDENTIFIER_KEY: "not hex" };
  for (const path of ["/v1/models", "/healthz"]) {
    const request = new Request(`http://eu.localhost${path}`, {
      headers: { authorization: `Bearer ${testKeys.acme}` },
    });
    const response = await worker.fetch(request as never, broken, createExecutionContext());
    expect(response.status).toBe(500);
    expect(await response.json()).toMatchObject({ error: { code: "internal_error" } });
  }
  expect(lines).toHaveLength(2);
  expect(lines[0]).toMatch(/IDENTIFIER_KEY: got a text of 7 characters, wanted 64 .*hex digits/);
  expect(lines.join("")).not.toContain("not hex");
});
