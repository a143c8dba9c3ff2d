import { keysOf } from "./commands.ts";
import type { Command, Engine, KeyImage, ValueImage } from "./engine.ts";
import type { Fault } from "./faults.ts";
import { expressionOfGlob } from "./glob.ts";
import { MemoryEngine } from "./memory-engine.ts";
import { bytesOfText } from "./reply.ts";
import type { Reply } from "./reply.ts";

type Lie = Extract<Fault, { kind: "lie" }>;

/** What is wrong with the reads of one request. */
export interface ReadFaults {
  readonly isEmpty: boolean;
  readonly lies: readonly Lie[];
  readonly nowMs: () => number;
}

/**
 * Runs a read on the engine, or, under a fault, on a scratch database: an empty one, or one that holds the keys named with
 * the lies in place. So every read command answers in its own form. Commands that list keys do not tell lies.
 */
export async function answerRead(
  engine: Engine,
  command: Command,
  faults: ReadFaults,
): Promise<Reply> {
  if (faults.isEmpty) return new MemoryEngine(faults.nowMs).execute(command);
  const keys = keysOf(command);
  if (faults.lies.length === 0 || keys === "everything") return engine.execute(command);
  const told = keys.flatMap((key) => imageOfLie(key, faults.lies));
  if (told.length === 0) return engine.execute(command);
  const scratch = new MemoryEngine(faults.nowMs);
  await scratch.applyImages(await engine.copyKeys(keys));
  await scratch.applyImages(told);
  return scratch.execute(command);
}

function imageOfLie(key: string, lies: readonly Lie[]): KeyImage[] {
  const lie = lies.find((one) => expressionOfGlob(bytesOfText(one.key)).test(key));
  return lie === undefined ? [] : [{ key, value: valueOfLie(lie.value), expiresAtMs: null }];
}

function valueOfLie(value: Lie["value"]): ValueImage | null {
  if (value === null) return null;
  if (typeof value === "string") return { type: "string", data: bytesOfText(value) };
  const fields = Object.entries(value).map(
    ([field, data]) => [bytesOfText(field), bytesOfText(data)] as const,
  );
  return { type: "hash", fields };
}
