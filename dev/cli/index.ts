/** `npm run meridian -- COMMAND`: the operator's command line. */
import { readFileSync } from "node:fs";
import { runCommand } from "./run-command.ts";

process.exitCode = await runCommand(process.argv.slice(2), {
  readStandardInput: () => readFileSync(0, "utf8"),
  out: (line) => void process.stdout.write(`${line}\n`),
  error: (line) => void process.stderr.write(`${line}\n`),
  environment: process.env,
  folder: process.cwd(),
});
