import type { DevProcess } from "./dev-process.ts";

/**
 * Whether the cells of the EU use all their shards again: a test that breaks many things one after the other waits for this
 * between them, so that each meets a system that is whole.
 */
export async function areShardsUsed(system: DevProcess): Promise<boolean> {
  const { edge, keys } = system.file();
  const answer = await fetch(`${edge.url}/admin/v1/shards`, {
    headers: { authorization: `Bearer ${keys["admin"] ?? ""}` },
    signal: AbortSignal.timeout(2_000),
  });
  const list = (await answer.json()) as {
    data?: { id: string; state: string; breaker: string | null }[];
  };
  const own = list.data?.filter(({ id }) => id.startsWith("eu-")) ?? [];
  return own.length > 0 && own.every((one) => one.state === "active" && one.breaker === "closed");
}

async function isAtEase(cellUrl: string): Promise<boolean> {
  const answer = await fetch(`${cellUrl}/metrics`, { signal: AbortSignal.timeout(2_000) });
  const text = await answer.text();
  const gauge = (name: string): number =>
    Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1] ?? Number.NaN);
  return gauge("meridian_retry_budget") >= 1 && gauge("meridian_overload_level") === 0;
}

/** Whether the cells of the EU are at full service, and may try another shard when one fails. */
export async function areCellsAtEase(system: DevProcess): Promise<boolean> {
  const cells = system.file().cells.filter(({ jurisdiction }) => jurisdiction === "eu");
  const checks = await Promise.all(cells.map(({ url }) => isAtEase(url)));
  return cells.length > 0 && checks.every(Boolean);
}
