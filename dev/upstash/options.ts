import { parseArgs } from "node:util";

import type { UpstashOptions } from "./server.ts";

/** A command line: what to start, and whether to end with the parent process. */
export interface CommandLine {
  readonly server: UpstashOptions;
  readonly isExitingWithParent: boolean;
}

/** A command line that cannot be used; the message says which flag, what it got and what is wanted. */
export class UsageError extends Error {}

/** Ten minutes, as the lag of a fault. */
const lagMsMax = 600_000;

/** Parses the arguments after the script name. @throws UsageError for an unknown flag or a value that cannot be used. */
export function parseCommandLine(args: readonly string[]): CommandLine {
  const values = parseFlags(args);
  const redis = values.redis === undefined ? undefined : parseRedisUrl(values.redis);
  if (redis !== undefined && values.data !== undefined) {
    throw new UsageError("--data: got a file together with --redis, wanted one of the two");
  }
  const token = required("--token", values.token);
  const readOnlyToken = required("--read-only-token", values["read-only-token"]);
  if (token === readOnlyToken) {
    throw new UsageError("--read-only-token: got the same as --token, wanted another one");
  }
  return {
    server: {
      port: parseWhole("--port", required("--port", values.port), 65_535),
      regions: parseRegions(required("--regions", values.regions)),
      token,
      readOnlyToken,
      replicationLagMs: parseWhole("--replication-lag-ms", values["replication-lag-ms"], lagMsMax),
      ...(values.data === undefined ? {} : { dataFile: required("--data", values.data) }),
      ...(redis === undefined ? {} : { redis }),
    },
    isExitingWithParent: values["exit-with-parent"],
  };
}

function parseFlags(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      strict: true,
      allowPositionals: false,
      options: {
        port: { type: "string" },
        regions: { type: "string" },
        token: { type: "string" },
        "read-only-token": { type: "string" },
        data: { type: "string" },
        "replication-lag-ms": { type: "string", default: "0" },
        redis: { type: "string" },
        "exit-with-parent": { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : "unreadable arguments");
  }
}

function required(flag: string, value: string | undefined): string {
  if (value === undefined || value === "") {
    throw new UsageError(`${flag}: got nothing, wanted a value`);
  }
  return value;
}

function parseWhole(flag: string, text: string, max: number): number {
  const value = /^[0-9]{1,6}$/.test(text) ? Number(text) : Infinity;
  if (value > max) {
    throw new UsageError(`${flag}: got "${text}", wanted a whole number from 0 to ${max}`);
  }
  return value;
}

function parseRegions(text: string): readonly string[] {
  const regions = text.split(",");
  const wrong = regions.find((region) => !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(region));
  if (wrong !== undefined) {
    throw new UsageError(`--regions: got "${wrong}", wanted names such as eu-west-1, with commas`);
  }
  if (new Set(regions).size < regions.length) {
    throw new UsageError(`--regions: got "${text}", wanted each region once`);
  }
  return regions;
}

function parseRedisUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (
    url?.protocol !== "redis:" ||
    url.hostname === "" ||
    !["", "/", "/0"].includes(url.pathname)
  ) {
    throw new UsageError(`--redis: got "${text}", wanted redis://HOST:PORT (database 0)`);
  }
  if (url.username !== "" || url.password !== "") {
    throw new UsageError("--redis: got credentials, wanted a server without a password");
  }
  return url;
}
