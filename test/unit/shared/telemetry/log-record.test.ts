import { describe, it } from "vitest";
import { formatLogRecord, isLogged } from "#shared/telemetry/log-record.ts";
import type { LogRecord } from "#shared/telemetry/log-record.ts";

const record: LogRecord = { at: "t", level: "info", part: "cell", event: "turn_ended" };

describe("a log record", () => {
  it("drops every field that is not allowed, whatever a caller smuggles in", ({ expect }) => {
    const smuggled = { ...record, shard: "s", content: "CANARY", url: "http://x/?key=CANARY" };
    const line = formatLogRecord(smuggled);
    expect(JSON.parse(line)).toEqual({ ...record, shard: "s" });
  });

  it("drops values of another type, absurd numbers, and cuts long texts", ({ expect }) => {
    const wrong = {
      ...record,
      status: Number.NaN,
      count: "CANARY" as unknown as number,
      tenant: { toString: () => "CANARY" } as unknown as string,
      reason: "r".repeat(500),
    };
    expect(JSON.parse(formatLogRecord(wrong))).toEqual({ ...record, reason: "r".repeat(200) });
  });

  it("is one line, also with line breaks in a value", ({ expect }) => {
    expect(formatLogRecord({ ...record, reason: "a\nb\u2028c" })).not.toContain("\n");
  });

  it("is written from its level on", ({ expect }) => {
    expect(isLogged("warn", "info")).toBe(true);
    expect(isLogged("info", "info")).toBe(true);
    expect(isLogged("debug", "info")).toBe(false);
  });
});
