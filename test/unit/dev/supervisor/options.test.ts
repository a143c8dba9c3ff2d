import { describe, expect, test } from "vitest";
import { UsageError, parseDevOptions } from "#dev/supervisor/options.ts";

const defaults = {
  topologyPath: "topology.jsonc",
  port: 8787,
  statePath: ".meridian",
  isFresh: false,
  engineUrl: null,
  ggufPath: null,
  replicationLagMs: 0,
};

describe("options of npm run dev", () => {
  test("have the documented defaults", () => {
    expect(parseDevOptions([])).toStrictEqual(defaults);
  });

  test.each([
    [["--port", "0"], { port: 0 }],
    [["--port", "65535"], { port: 65_535 }],
    [["--state", "/tmp/x", "--fresh"], { statePath: "/tmp/x", isFresh: true }],
    [["--topology", "t.jsonc"], { topologyPath: "t.jsonc" }],
    [["--engine", "http://127.0.0.1:11434"], { engineUrl: "http://127.0.0.1:11434" }],
    [["--gguf", "m.gguf"], { ggufPath: "m.gguf" }],
    [["--replication-lag-ms", "600000"], { replicationLagMs: 600_000 }],
  ])("take %j", (args, changed) => {
    expect(parseDevOptions(args)).toStrictEqual({ ...defaults, ...changed });
  });

  test("ask for the usage text", () => {
    expect(parseDevOptions(["--help"])).toBeNull();
  });

  test.each([
    [["--colour"], "--colour"],
    [["extra"], "extra"],
    [["--port"], "--port"],
    [["--port", "65536"], '--port: got "65536"'],
    [["--port", "-1"], "--port"],
    [["--port", "8e3"], '--port: got "8e3"'],
    [["--port", "1", "--port", "1"], "--port: given twice"],
    [["--fresh", "--fresh"], "--fresh: given twice"],
    [["--state", ""], "--state: got nothing"],
    [["--topology="], "--topology: got nothing"],
    [["--replication-lag-ms", "600001"], "--replication-lag-ms"],
    [["--gguf="], "--gguf: got nothing"],
    [["--gguf", "m.gguf", "--engine", "http://127.0.0.1:1"], "--gguf: got --engine too"],
    [["--engine", "localhost:11434"], "--engine: got"],
    [["--engine", "ftp://x"], "--engine: got"],
    [["--engine", "http://user:pass@127.0.0.1"], "--engine: wanted a URL without credentials"],
  ])("refuse %j", (args, message) => {
    expect(() => parseDevOptions(args)).toThrow(UsageError);
    expect(() => parseDevOptions(args)).toThrow(message);
  });
});
