import { classifyPlatformFailure } from "#shared/errors/platform-failure.ts";
import { parseCellState } from "#shared/protocol/internal/cell-state.ts";
import { parseShardStates } from "#shared/protocol/internal/shard-admin.ts";
import type { CellAdmin, CellAdminAnswer } from "../ports.ts";
import type { CellRequest } from "./cell-fetch.ts";

/** Time that a cell has for an operator's call, ms: it writes one small file. */
const answerTimeoutMs = 5_000;

/** The operators' calls to cells over signed requests. Nothing is repeated: an operator sees the failure and asks again. */
export function createCellAdmin(request: CellRequest): CellAdmin {
  async function ask(
    cell: Parameters<CellAdmin["shards"]>[0],
    method: string,
    body: string,
  ): Promise<CellAdminAnswer> {
    try {
      const response = await request(
        cell,
        { method, path: "/internal/shards", body },
        AbortSignal.timeout(answerTimeoutMs),
      );
      if (response.status !== 200) {
        await response.body?.cancel();
        return { kind: "unreachable", reason: `status${response.status}` };
      }
      const shards = parseShardStates(await response.json());
      return shards === null
        ? { kind: "unreachable", reason: "notACell" }
        : { kind: "shards", shards };
    } catch (thrown) {
      return { kind: "unreachable", reason: classifyPlatformFailure(thrown) };
    }
  }
  return {
    state: async (cell) => {
      try {
        const response = await request(
          cell,
          { method: "GET", path: "/internal/cell", body: "" },
          AbortSignal.timeout(answerTimeoutMs),
        );
        if (response.status === 200) return parseCellState(await response.json());
        await response.body?.cancel();
        return null;
      } catch {
        return null;
      }
    },
    shards: (cell) => ask(cell, "GET", ""),
    command: (cell, command) => ask(cell, "POST", JSON.stringify(command)),
  };
}
