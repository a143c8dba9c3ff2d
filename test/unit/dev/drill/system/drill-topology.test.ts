import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { drillTopology } from "#dev/drill/system/drill-topology.ts";
import { readTopologyFile } from "#dev/supervisor/topology-file.ts";

const { file } = readTopologyFile(
  fileURLToPath(new URL("../../../../../topology.jsonc", import.meta.url)),
);
const model = "sim/llama-3.1-8b-instruct";

function shardsOf(jurisdiction: string, platform: Parameters<typeof drillTopology>[2]) {
  const regions = file.jurisdictions[jurisdiction]?.regions ?? [];
  const { shards, cells } = drillTopology(file, model, platform).file;
  return Object.values(shards).filter(({ cell }) => regions.includes(cells[cell]?.region ?? ""));
}

describe("the topology of a drill", () => {
  it("has shards in the EU that are taken down when they are idle, where the drill wants that", () => {
    const platform = { scaleToZeroSeconds: 12, coldStartMs: 2_000 };
    const eu = shardsOf("eu", platform);
    expect(eu).toHaveLength(6);
    for (const shard of eu) {
      expect(shard).toMatchObject({ scaleToZeroSeconds: 12, backend: { coldStartMs: 2_000 } });
    }
    for (const shard of shardsOf("us", platform)) expect(shard.scaleToZeroSeconds).toBeUndefined();
  });

  it("has clients of its tenants alone, of classes that those may ask for, one of them with two", () => {
    const { file: own, flows } = drillTopology(file, model);
    const tenantOf = (key: string): string => key.split("_")[2] ?? "";
    for (const flow of flows) {
      const tenant = own.tenants[tenantOf(flow.key)];
      expect(tenant?.jurisdiction).toBe(flow.jurisdiction);
      const order = ["critical", "interactive", "standard", "batch"];
      const most = order.indexOf(tenant?.priority ?? "batch");
      expect(order.indexOf(flow.priority)).toBeGreaterThanOrEqual(most);
    }
    const ofA = flows.filter(({ key }) => tenantOf(key) === "drill-a");
    expect(ofA.map(({ priority }) => priority)).toEqual(["interactive", "standard"]);
  });

  it("has shards that are always up otherwise", () => {
    for (const shard of shardsOf("eu", null)) expect(shard.scaleToZeroSeconds).toBeUndefined();
  });
});
