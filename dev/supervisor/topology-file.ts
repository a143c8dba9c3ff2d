import { readFileSync } from "node:fs";
import stripJsonComments from "strip-json-comments";
import type * as z from "zod";
import { describeProblems, parseTopology, topologySchema } from "#shared/config/topology.ts";
import type { Topology } from "#shared/config/topology.ts";
import { StartError } from "./state-folder.ts";

/** A topology as it is written, checked. */
export type TopologyFile = z.infer<typeof topologySchema>;

/** A checked topology: as it is written, and with its cross-references resolved. */
export interface CheckedTopology {
  readonly file: TopologyFile;
  readonly topology: Topology;
}

/** Reads and checks a topology file. @throws StartError with every problem: path, got, wanted. */
export function readTopologyFile(path: string): CheckedTopology {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    throw new StartError(`The topology file ${path} cannot be read.`);
  }
  let value: unknown;
  try {
    value = JSON.parse(stripJsonComments(text, { trailingCommas: true }));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartError(`The topology file ${path} is not JSON with comments: ${reason}`);
  }
  const result = parseTopology(value);
  if (!result.ok) throw new StartError(topologyComplaint(path, result.problems));
  return { file: topologySchema.parse(value), topology: result.topology };
}

/** The complaint about a file with problems, one line each. */
export function topologyComplaint(
  path: string,
  problems: Parameters<typeof describeProblems>[0],
): string {
  const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
  return `The topology file ${path} has ${count}:\n${describeProblems(problems)}`;
}
