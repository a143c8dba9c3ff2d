import { parseArgs } from "node:util";

/** What to serve, and whether to end with the parent process. */
export interface CommandLine {
  /** 0 asks for a free port. */
  readonly port: number;
  readonly dataDir: string;
  /** The region whose rows these are; it is printed with the address, so that logs name it. */
  readonly region: string;
  readonly isExitingWithParent: boolean;
}

/** A command line that cannot be used; the message says which flag, what it got and what is wanted. */
export class UsageError extends Error {}

/** Parses the arguments after the script name. @throws UsageError for an unknown flag or a value that cannot be used. */
export function parseCommandLine(args: readonly string[]): CommandLine {
  const values = parseFlags(args);
  const port = /^[0-9]{1,5}$/.test(values.port) ? Number(values.port) : Infinity;
  if (port > 65_535) {
    throw new UsageError(`--port: got "${values.port}", wanted a whole number from 0 to 65535`);
  }
  if (!/^[a-z0-9]+(-[a-z0-9]+)*$/.test(values.region ?? "")) {
    throw new UsageError(`--region: got "${values.region ?? ""}", wanted a name such as eu-west-1`);
  }
  if (values.data === undefined || values.data === "") {
    throw new UsageError("--data: got nothing, wanted a folder");
  }
  return {
    port,
    dataDir: values.data,
    region: values.region ?? "",
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
        port: { type: "string", default: "0" },
        data: { type: "string" },
        region: { type: "string" },
        "exit-with-parent": { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : "unreadable arguments");
  }
}
