import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import * as z from "zod";

const script = fileURLToPath(new URL("../../../dev/database/index.ts", import.meta.url));
const listening = z.strictObject({
  event: z.literal("listening"),
  url: z.string(),
  region: z.string(),
  pid: z.int(),
});

/** `dev/database` as a process of its own. */
export interface DatabaseProcess {
  readonly line: z.infer<typeof listening>;
  readonly url: string;
  /** Ends it and waits; resolves with its exit code. */
  end(how: "SIGTERM" | "SIGKILL" | "closeStdin"): Promise<number | null>;
}

export function spawnDatabase(flags: readonly string[]) {
  return spawn(process.execPath, [script, ...flags], { stdio: ["pipe", "pipe", "pipe"] });
}

/** Starts it on `dataDir` and waits for its line. @throws Error with its output when it ends first. */
export async function startDatabaseProcess(
  dataDir: string,
  flags: readonly string[] = [],
): Promise<DatabaseProcess> {
  const child = spawnDatabase(["--region", "eu-west-1", "--data", dataDir, ...flags]);
  let errors = "";
  child.stderr.on("data", (piece: Buffer) => {
    errors += piece.toString("utf8");
  });
  const exited = once(child, "exit").then(([code]) => (typeof code === "number" ? code : null));
  const killWithUs = (): void => void child.kill("SIGKILL");
  process.once("exit", killWithUs);
  void exited.then(() => process.removeListener("exit", killWithUs));
  const first = await Promise.race([once(child.stdout, "data"), exited.then(() => null)]);
  if (first === null) throw new Error(`the database ended:\n${errors}`);
  const line = listening.parse(JSON.parse(String(first[0])));
  return {
    line,
    url: line.url,
    end: (how) => {
      if (how === "closeStdin") child.stdin.end();
      else child.kill(how);
      return exited;
    },
  };
}
