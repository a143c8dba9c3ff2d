import { describe, expect, test } from "vitest";

import { encodeReply, parseRequest, refuse } from "#dev/upstash/rest-protocol.ts";
import { targetOf } from "#dev/upstash/request-target.ts";

function parse(path: string, body = "", query = "") {
  return parseRequest({ path, body, query: new URLSearchParams(query) });
}

describe("a REST request", () => {
  test.for<[path: string, body: string, query: string, command: readonly string[]]>([
    ["", '["set","k",1,true]', "", ["SET", "k", "1", "true"]],
    ["get/a%2Fb%20c", "", "", ["GET", "a/b c"]],
    ["set/k/v/EX/10", "", "_token=T", ["SET", "k", "v", "EX", "10"]],
    ["set/k", "the body", "EX=10&NX", ["SET", "k", "the body", "EX", "10", "NX"]],
    ["set/k/", "", "", ["SET", "k", ""]],
    ["set/k/%ff", "", "", ["SET", "k", "\xff"]],
  ])("/%s with body %s and query %s", ([path, body, query, command]) => {
    expect(parse(path, body, query)).toEqual({ form: "single", commands: [command] });
  });

  test.for<[path: string, body: string]>([
    ["", ""],
    ["", "{}"],
    ["", "[]"],
    ["", '[""]'],
    ["", '["SET","k",null]'],
    ["", '["SET","k",{"a":1}]'],
    ["pipeline", "[]"],
    ["pipeline", '["GET","k"]'],
    ["multi-exec", '[["GET","k"],[]]'],
    ["pipeline", `[${'["GET","k"],'.repeat(10_000)}["GET","k"]]`],
    ["get/%f", ""],
  ])("/%s with body %.30s is refused", ([path, body]) => {
    expect(parse(path, body)).toEqual({ error: expect.stringMatching(/^ERR /) });
  });

  test("an unknown command is refused for the read-only token by what it is, not by permission", () => {
    expect(refuse(["FOO"], true)).toEqual({ error: "ERR Command is not available: 'FOO'" });
    expect(refuse(["GET", "k"], true)).toBeUndefined();
    expect(refuse(["INCR", "k"], true)?.error).toMatch(/^NOPERM/);
    expect(refuse(["INCR", "k"], false)).toBeUndefined();
  });
});

describe("an answer", () => {
  test("in base64 everything but a status OK is encoded", () => {
    expect(
      encodeReply([{ status: "OK" }, "OK", { status: "PONG" }, 3, null, ["\xff"]], true),
    ).toEqual(["OK", "T0s=", "UE9ORw==", 3, null, ["/w=="]]);
  });

  test("without base64 bytes are read as UTF-8", () => {
    expect(encodeReply(["\xc3\xb3", "\xff"], false)).toEqual(["ó", "\ufffd"]);
  });
});

describe("the target of a request", () => {
  test.for<[path: string, target: object]>([
    ["/", { kind: "commands", region: undefined, path: "" }],
    ["/pipeline", { kind: "commands", region: undefined, path: "pipeline" }],
    ["/regions/eu", { kind: "commands", region: "eu", path: "" }],
    ["/regions/eu/", { kind: "commands", region: "eu", path: "" }],
    ["/regions/eu/get/k", { kind: "commands", region: "eu", path: "get/k" }],
    ["/regions/mars/get/k", { kind: "unknown" }],
    ["/regions/", { kind: "unknown" }],
    ["/control/faults", { kind: "control" }],
    ["/control/fault", { kind: "unknown" }],
  ])("%s", ([path, target]) => {
    expect(targetOf(path, ["eu"])).toMatchObject(target);
  });
});
