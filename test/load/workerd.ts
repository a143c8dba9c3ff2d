import { copyFileSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { printed, start } from "./processes.ts";
import type { Started } from "./processes.ts";

const wranglerFile = readFileSync("wrangler.toml", "utf8");
/** The day and the flags of wrangler.toml. */
const compatibilityDate = /compatibility_date = "([^"]+)"/.exec(wranglerFile)?.[1];
const compatibilityFlags = /compatibility_flags = (\[[^\]]*\])/.exec(wranglerFile)?.[1];

/** The workerd binary, not its Node wrapper: the wrapper would be the process that is measured. */
export function workerdPath(): string {
  const found = createRequire(createRequire(import.meta.url).resolve("workerd/package.json"));
  return found.resolve(`@cloudflare/workerd-${process.platform}-${archOf()}/bin/workerd`);
}

function archOf(): string {
  return process.arch === "x64" ? "64" : process.arch;
}

/** A Worker to serve: a folder with its modules, texts as bindings, classes of objects by binding. */
export interface WorkerToServe {
  readonly folder: string;
  readonly main: string;
  readonly bindings: Readonly<Record<string, string>>;
  readonly classes: Readonly<Record<string, string>>;
  /** A folder for the objects' SQLite files. */
  readonly storage: string;
}

/** A string of Cap'n Proto text: JSON's escapes of quotes and backslashes are its own. */
function quoted(text: string): string {
  return JSON.stringify(text);
}

function configOf(worker: WorkerToServe): string {
  const others = readdirSync(worker.folder).filter((name) => name.endsWith(".jsonc"));
  const modules = [
    `(name = "main.js", esModule = embed ${quoted(worker.main)})`,
    ...others.map((name) => `(name = ${quoted(`./${name}`)}, text = embed ${quoted(name)})`),
  ];
  const bindings = [
    ...Object.entries(worker.bindings).map(
      ([name, value]) => `(name = ${quoted(name)}, text = ${quoted(value)})`,
    ),
    ...Object.entries(worker.classes).map(
      ([name, className]) =>
        `(name = ${quoted(name)}, durableObjectNamespace = ${quoted(className)})`,
    ),
  ];
  const classes = Object.values(worker.classes).map(
    (name) => `(className = ${quoted(name)}, uniqueKey = ${quoted(name)}, enableSql = true)`,
  );
  const objects =
    classes.length === 0
      ? ""
      : `durableObjectNamespaces = [${classes.join(", ")}], durableObjectStorage = (localDisk = "storage"),`;
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      compatibilityDate = ${quoted(compatibilityDate ?? "")},
      compatibilityFlags = ${compatibilityFlags ?? "[]"},
      modules = [${modules.join(", ")}],
      bindings = [${bindings.join(", ")}],
      ${objects}
    )),
    (name = "internet", network = (allow = ["public", "private"])),
    (name = "storage", disk = (path = ${quoted(worker.storage)}, writable = true)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
`;
}

/** Serves a Worker with the workerd binary, on a free port. */
export async function serveWorker(
  worker: WorkerToServe,
): Promise<{ readonly process: Started; readonly url: string }> {
  const config = join(worker.storage, "config.capnp");
  // An embedded file is looked for beside the configuration; an absolute path means the import path.
  for (const name of readdirSync(worker.folder).filter((file) => /\.(?:js|jsonc)$/.test(file)))
    copyFileSync(join(worker.folder, name), join(worker.storage, name));
  writeFileSync(config, configOf(worker));
  const served = start(
    workerdPath(),
    ["serve", "-I/", config, "--control-fd=3", "--experimental"],
    {
      core: 0,
      third: "pipe",
    },
  );
  const port = await printed(served, /"socket":"http"[^}]*"port":(\d+)/, 3);
  return { process: served, url: `http://127.0.0.1:${port}` };
}
