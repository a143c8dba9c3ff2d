import { describe, expect, test } from "vitest";

import { UsageError, parseCommandLine } from "#dev/upstash/options.ts";

const needed = [
  "--port",
  "0",
  "--regions",
  "eu-west-1,us-east-1",
  "--token",
  "T",
  "--read-only-token",
  "R",
];

describe("the command line", () => {
  test("the flags that are needed are enough", () => {
    expect(parseCommandLine(needed)).toEqual({
      server: {
        port: 0,
        regions: ["eu-west-1", "us-east-1"],
        token: "T",
        readOnlyToken: "R",
        replicationLagMs: 0,
      },
      isExitingWithParent: false,
    });
  });

  test("every flag reaches the server", () => {
    const more = ["--data", "kv.json", "--replication-lag-ms", "250", "--exit-with-parent"];
    const { server, isExitingWithParent } = parseCommandLine([...needed, ...more]);
    expect(server).toMatchObject({ dataFile: "kv.json", replicationLagMs: 250 });
    expect(isExitingWithParent).toBe(true);
    const redis = parseCommandLine([...needed, "--redis", "redis://127.0.0.1:6379"]).server.redis;
    expect(redis?.host).toBe("127.0.0.1:6379");
  });

  test.for<[what: string, args: readonly string[], message: RegExp]>([
    ["an unknown flag", [...needed, "--bogus"], /--bogus/],
    ["a stray word", [...needed, "stray"], /stray/],
    ["a missing flag", needed.slice(2), /--port: got nothing/],
    ["an empty token", [...needed, "--token", ""], /--token: got nothing/],
    ["a port that is none", [...needed, "--port", "65536"], /--port: got "65536", wanted .* 65535/],
    [
      "a lag that is none",
      [...needed, "--replication-lag-ms", "1s"],
      /--replication-lag-ms: got "1s"/,
    ],
    ["a region that is no name", [...needed, "--regions", "eu,,us"], /--regions: got ""/],
    ["a region twice", [...needed, "--regions", "eu,eu"], /each region once/],
    ["one token for both", [...needed, "--token", "R"], /--read-only-token: got the same/],
    ["another protocol", [...needed, "--redis", "http://127.0.0.1:1"], /--redis: got "http/],
    ["another database", [...needed, "--redis", "redis://127.0.0.1:1/3"], /database 0/],
    ["a password", [...needed, "--redis", "redis://:x@127.0.0.1:1"], /without a password/],
    ["a file beside redis", [...needed, "--redis", "redis://a:1", "--data", "f"], /one of the two/],
  ])("%s is refused by name", ([, args, message]) => {
    expect(() => parseCommandLine(args)).toThrow(UsageError);
    expect(() => parseCommandLine(args)).toThrow(message);
  });
});
