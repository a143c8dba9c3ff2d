/** `npm run dev`: the whole of Meridian on this machine, from topology.jsonc. */
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major < 22 || (major === 22 && minor < 18)) {
  process.stderr.write(
    `This needs Node 22.18 or newer and runs on ${process.versions.node}.\n` +
      "Start it with `npm run dev`: on Linux, npm ci has put Node 24 into node_modules. Elsewhere install Node 24.\n",
  );
  process.exit(1);
}

// Imported only now: an older Node could not read it.
const { devUsage, parseDevOptions, StartError } = await import("./supervisor/options.ts");
const { startSystem } = await import("./supervisor/start.ts");

try {
  const options = parseDevOptions(process.argv.slice(2), process.cwd());
  if (options === null) process.stdout.write(`${devUsage}\n`);
  else {
    const say = (line: string): void => void process.stdout.write(`${line}\n`);
    let stopRequests = 0;
    let stop: (() => Promise<void>) | null = null;
    const onSignal = (): void => {
      stopRequests += 1;
      // The second one ends at once; the reaper ends what is left.
      if (stopRequests > 1) process.exit(130);
      if (stop === null) return;
      say("\nstopping …");
      void stop().then(() => {
        say("stopped");
        process.exit(0);
      });
    };
    process.on("SIGINT", onSignal);
    process.on("SIGTERM", onSignal);
    process.on("SIGHUP", onSignal);
    const system = await startSystem(options, say);
    stop = () => system.stop();
    // A signal that came while starting.
    if (stopRequests > 0) {
      stopRequests = 0;
      onSignal();
    }
  }
} catch (error) {
  if (!(error instanceof StartError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exit(error.exitCode);
}
export {};
