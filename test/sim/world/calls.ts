import type { CellId } from "#shared/residency/brands.ts";
import type { Process } from "../process.ts";
import type { CellNode } from "./cell.ts";
import type { CallResult } from "./network.ts";
import type { World } from "./world.ts";

/** A signed call to a cell. */
export function callCell<Value>(
  world: World,
  from: Process,
  cellId: CellId,
  kind: string,
  timeoutMs: number,
  content: () => string,
  handle: (cell: CellNode, sentAtMs: number) => Promise<Value> | Value,
): Promise<CallResult<Value>> {
  const cell = world.cells.get(cellId);
  if (cell === undefined) return Promise.resolve({ ok: false, failure: "lost" });
  return world.network.call({
    from,
    to: () => cell.process,
    toName: cellId,
    toZone: cell.plan.zone,
    kind: `${kind}:${cellId}`,
    content,
    timeoutMs,
    handle: (_at, sentAtMs) => handle(cell, sentAtMs),
  });
}

/** Tries of a repeatable call to an object, and how long one is waited for, ms. */
const triesMax = 3;
const objectTimeoutMs = 8_000;

/** A call to an object, tried again as edge/adapters/object-stubs.ts does; null when no try was answered. */
export async function callObject<Value>(
  world: World,
  from: Process,
  target: {
    readonly name: string;
    readonly zone: string;
    readonly open: () => Process | null;
    readonly content: () => string;
    readonly handle: () => Promise<Value>;
    readonly kind: string;
  },
): Promise<Value | null> {
  for (let tries = 0; tries < triesMax; tries += 1) {
    if (world.faults.fires("object.overloaded")) return null;
    const reply = await world.network.call({
      from,
      to: target.open,
      toName: target.name,
      toZone: target.zone,
      kind: target.kind,
      content: target.content,
      timeoutMs: objectTimeoutMs,
      // The platform delivers a call to an object once; what is lost is called again here.
      isOnce: true,
      handle: target.handle,
    });
    if (reply.ok) return reply.value;
    if (reply.failure === "timeout") return null;
  }
  return null;
}
