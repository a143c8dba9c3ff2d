import * as z from "zod";
import { engineStates } from "../ports/supervisor.ts";
import type { Supervisor } from "../ports/supervisor.ts";

const statesSchema = z.strictObject({
  shards: z.array(z.strictObject({ shard: z.string(), state: z.enum(engineStates) })).max(1_000),
});

/** The supervisor behind its control endpoint on loopback (dev/supervisor/shard-control.ts). */
export function createHttpSupervisor({
  token: key,
  url,
}: {
  readonly url: string;
  readonly token: string;
}): Supervisor {
  async function call(
    path: string,
    init: { readonly method: string; readonly body?: string },
    signal: AbortSignal,
  ): Promise<Response | null> {
    try {
      return await fetch(new URL(path, url), {
        ...init,
        headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
        redirect: "manual",
        signal,
      });
    } catch {
      return null;
    }
  }

  async function put(path: string, body: object, signal: AbortSignal): Promise<number> {
    const response = await call(path, { method: "PUT", body: JSON.stringify(body) }, signal);
    await response?.body?.cancel();
    return response?.status ?? 0;
  }

  return {
    async states(signal) {
      const response = await call("/shards", { method: "GET" }, signal);
      if (response?.status !== 200) return null;
      const parsed = statesSchema.safeParse(await response.json().catch(() => null));
      if (!parsed.success) return null;
      return new Map(parsed.data.shards.map(({ shard, state }) => [shard, state]));
    },
    async set(shard, running, token, signal) {
      const status = await put("/shards", { shard, running, token }, signal);
      if (status === 409) return "fenced";
      return status === 200 ? "applied" : "failed";
    },
    left: async (shard, signal) => (await put("/shards/left", { shard }, signal)) === 200,
  };
}
