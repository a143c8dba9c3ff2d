import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openGgufModel, serveGguf } from "#dev/supervisor/gguf-model.ts";
import { resolveTopology, shardsToStart } from "#dev/supervisor/resolve-topology.ts";
import { StartError } from "#dev/supervisor/state-folder.ts";
import { parseTopology } from "#shared/config/topology.ts";
import { aTopologyFile } from "./a-topology-file.ts";

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "meridian-gguf-"));
});
afterEach(() => rmSync(root, { recursive: true }));

function aFile(name: string, text = "GGUF…"): string {
  const path = join(root, name);
  writeFileSync(path, text);
  return path;
}

function install(): void {
  const folder = join(root, "dev/gguf-engine/node_modules/node-llama-cpp");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), "{}");
}

describe("a GGUF file", () => {
  test.each([
    ["Qwen2.5-0.5B-Instruct-Q4_K_M.gguf", "Qwen2.5-0.5B-Instruct-Q4_K_M"],
    ["my model (1).GGUF", "my-model--1-"],
    ["sim.gguf", "sim"],
    ["...gguf", "gguf"],
    ["…", "gguf"],
  ])("%s is served as %s", (file, name) => {
    install();
    const model = openGgufModel(aFile(file), root);
    expect(model.name).toBe(name);
    expect(parseTopology(serveGguf(aTopologyFile(), model)).ok).toBe(true);
  });

  test("that is none, or is not there, is refused before anything else", () => {
    for (const path of [aFile("x.gguf", "GGML"), aFile("y.gguf", ""), join(root, "z.gguf"), root])
      expect(() => openGgufModel(path, root)).toThrow(/is no readable GGUF file/);
  });

  test("without the package says what to run", () => {
    const open = (): unknown => openGgufModel(aFile("m.gguf"), root);
    expect(open).toThrow(StartError);
    expect(open).toThrow("npm ci --prefix dev/gguf-engine --omit=optional --ignore-scripts");
  });
});

describe("a topology that serves a GGUF model", () => {
  test("has it on two shards of every cell, whose engines are shared, and nothing simulated", () => {
    const served = serveGguf(aTopologyFile(), { path: "/m.gguf", name: "m" });
    expect(Object.keys(served.models)).toStrictEqual(["m"]);
    expect(Object.keys(served.shards)).toStrictEqual([
      "eu-west-1a/gguf-0",
      "eu-west-1a/gguf-1",
      "us-east-1a/gguf-0",
      "us-east-1a/gguf-1",
    ]);
    expect(shardsToStart(served)).toStrictEqual([]);
    const engines = { "eu-west-1a/gguf-1": "http://127.0.0.1:7/v1" };
    const { shards } = resolveTopology(served, { engines, cells: {} });
    expect(shards["eu-west-1a/gguf-1"]?.backend).toMatchObject({ url: "http://127.0.0.1:7/v1" });
  });
});
