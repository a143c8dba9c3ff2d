import type { Topology } from "#shared/config/topology.ts";
import type { DevDescription } from "./start.ts";

function rows(lines: readonly (readonly string[])[]): readonly string[] {
  const widths = lines.reduce<number[]>(
    (sum, line) => line.map((cell, index) => Math.max(sum[index] ?? 0, cell.length)),
    [],
  );
  return lines.map((line) =>
    line
      .map((cell, index) => cell.padEnd(widths[index] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}

/** What runs where, the keys, and two snippets that work when pasted. */
export function describeSystem(system: DevDescription, topology: Topology): readonly string[] {
  const regionOfCell = new Map(system.cells.map((cell) => [cell.id, cell.region]));
  const table = rows([
    ["PART", "ID", "REGION", "URL", "PID"],
    [
      "edge",
      Object.values(system.edge.hostnames).join(", "),
      "-",
      system.edge.url,
      String(system.edge.pid),
    ],
    ...system.cells.map((cell) => ["cell", cell.id, cell.region, cell.url, String(cell.pid)]),
    ...system.shards.map((shard) => [
      "shard",
      `${shard.id} (${shard.model})`,
      regionOfCell.get(shard.cell) ?? "",
      shard.url,
      shard.pid === undefined ? "not ours" : String(shard.pid),
    ]),
    ...system.databases.map(({ region, url, pid }) => [
      "database",
      region,
      region,
      pid === undefined ? "as configured" : url,
      pid === undefined ? "not ours" : String(pid),
    ]),
    ["health KV", "", "all", system.health.url, String(system.health.pid)],
  ]);
  const [first] = topology.jurisdictions.values();
  const key = first === undefined ? "" : (system.keys[first.id] ?? "");
  const chat = [...(first?.models.values() ?? [])].find((model) =>
    model.capabilities.includes("chat"),
  );
  const model = chat?.id ?? "";
  const isSimulated = model.startsWith("sim/");
  const keys = rows(Object.entries(system.keys).map(([id, value]) => [`key ${id}`, value]));
  return [
    "",
    ...table,
    "",
    ...keys,
    "",
    ...(isSimulated
      ? [
          "The shards are simulated engines: their text is made up, their timing and their faults are not.",
        ]
      : []),
    "Try it:",
    "",
    `curl ${system.edge.url}/v1/chat/completions -H 'authorization: Bearer ${key}' -H 'content-type: application/json' \\`,
    `  -d '{"model":"${model}","messages":[{"role":"user","content":"Hello"}]}'`,
    "",
    `npx node --input-type=module -e 'import OpenAI from "openai";`,
    `const client = new OpenAI({ baseURL: "${system.edge.url}/v1", apiKey: "${key}" });`,
    `const stream = await client.responses.create({ model: "${model}", input: "Hello", stream: true });`,
    `for await (const event of stream) if (event.type === "response.output_text.delta") process.stdout.write(event.delta);'`,
    "",
    "Next: README.md (break it), docs/architecture.md (how it works). Ctrl-C stops everything.",
  ];
}
