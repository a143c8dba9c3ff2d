import { runSimulate } from "./run-simulate.ts";

process.exitCode = runSimulate(process.argv.slice(2), {
  print: (text) => console.log(text),
  printError: (text) => console.error(text),
  nowMs: () => performance.now(),
});
