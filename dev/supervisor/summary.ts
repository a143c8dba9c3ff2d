import type { DevFile } from "./dev-file.ts";

/** Rows of a table as lines, columns padded to their widest cell. */
export function formatTable(rows: readonly (readonly string[])[]): readonly string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, cell] of row.entries())
      widths[column] = Math.max(widths[column] ?? 0, cell.length);
  }
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}

/** What runs where, as a table. */
export function partsTable(file: DevFile): readonly string[] {
  const pid = (value: number | undefined): string => (value === undefined ? "-" : String(value));
  const regionOfCell = new Map(file.cells.map(({ id, region }) => [id, region]));
  return formatTable([
    ["PART", "ID", "REGION", "URL", "PID"],
    ["edge", Object.values(file.edge.hostnames).join(", "), "-", file.edge.url, pid(file.edge.pid)],
    ...file.cells.map((cell) => ["cell", cell.id, cell.region, cell.url, pid(cell.pid)]),
    ...file.shards.map((shard) => [
      "shard",
      `${shard.id} (${shard.model})`,
      regionOfCell.get(shard.cell) ?? "-",
      shard.url,
      pid(shard.pid),
    ]),
    ...file.databases.map((database) => [
      "database",
      database.region,
      database.region,
      database.url,
      pid(database.pid),
    ]),
    ["health KV", "-", "all", file.health.url, pid(file.health.pid)],
  ]);
}

/** What a user reads when everything is ready: the table, keys, commands that work when pasted, and where to go on. */
export function describeReady(file: DevFile, chatModel: string | null): string {
  const entries = Object.entries(file.keys);
  const firstKey = entries.find(([name]) => name !== "admin")?.[1] ?? "";
  const baseUrl = `${file.edge.url}/v1`;
  return [
    "",
    ...partsTable(file),
    "",
    "Keys (kept in the state folder):",
    ...formatTable(entries.map(([name, key]) => [`  ${name}`, key])),
    "",
    ...(chatModel === null ? [] : snippets(baseUrl, firstKey, chatModel)),
    "Next: docs/architecture.md (the parts), docs/error-codes.md, npm run meridian -- help",
    "Ctrl-C stops everything; keys and conversations are kept.",
    "",
  ].join("\n");
}

function snippets(baseUrl: string, key: string, model: string): readonly string[] {
  return [
    "curl:",
    `  curl -N ${baseUrl}/chat/completions \\`,
    `    -H 'authorization: Bearer ${key}' -H 'content-type: application/json' \\`,
    `    -d '{"model":"${model}","stream":true,"messages":[{"role":"user","content":"Hello"}]}'`,
    "",
    "openai (another terminal, in this folder):",
    "  npx node --input-type=module -e '",
    '    import OpenAI from "openai";',
    `    const client = new OpenAI({ baseURL: "${baseUrl}", apiKey: "${key}" });`,
    `    const answer = await client.responses.create({ model: "${model}", input: "Hello" });`,
    "    console.log(answer.output_text);'",
    "",
  ];
}
