import { parseArgs } from "node:util";
import { profiles } from "./faults/profiles.ts";
import { simulate } from "./simulate.ts";
import { runCampaign } from "./campaign.ts";
import { formatReport } from "./report.ts";
import { killMutants } from "./mutants/kill.ts";

const usage = `npm run sim -- [--seeds N] [--seed FIRST] [--profile NAME] [--events M] [--mutants]
npm run sim -- --replay SEED [--profile NAME] [--events M] [--log]

profiles: ${Object.keys(profiles).join(", ")}`;

/** The command line; returns the process's exit status. */
async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seeds: { type: "string", default: "100" },
      seed: { type: "string", default: "1" },
      profile: { type: "string", default: "swarm" },
      events: { type: "string", default: "2000" },
      replay: { type: "string" },
      mutants: { type: "boolean", default: false },
      log: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const profile = profiles[values.profile];
  if (values.help || profile === undefined) {
    console.log(usage);
    return values.help ? 0 : 2;
  }
  const events = Number(values.events);
  if (values.replay !== undefined) {
    const log = values.log ? { onLog: (line: string) => console.log(line) } : {};
    const result = await simulate({ seed: Number(values.replay), profile, events, ...log });
    console.log(formatReport([result], profile));
    return result.violations.length === 0 ? 0 : 1;
  }
  if (values.mutants) {
    const verdicts = await killMutants(events, (line) => console.log(line));
    return verdicts.every(({ isKilled }) => isKilled) ? 0 : 1;
  }
  const campaign = await runCampaign({
    profile,
    events,
    firstSeed: Number(values.seed),
    seeds: Number(values.seeds),
    onFailure: (line) => console.log(line),
  });
  console.log(formatReport(campaign.results, profile));
  for (const complaint of campaign.complaints) console.log(complaint);
  return campaign.complaints.length === 0 ? 0 : 1;
}

process.exitCode = await main();
