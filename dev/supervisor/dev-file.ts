import { readFileSync, renameSync, writeFileSync } from "node:fs";

/** The content of dev.json: what runs where, for scripts and tests (docs/architecture.md). `pid` is absent for what was not started. */
export interface DevFile {
  readonly edge: {
    readonly url: string;
    readonly pid?: number;
    readonly hostnames: Readonly<Record<string, string>>;
  };
  /** By jurisdiction, and `admin`. */
  readonly keys: Readonly<Record<string, string>>;
  readonly cells: readonly {
    readonly id: string;
    readonly jurisdiction: string;
    readonly region: string;
    readonly url: string;
    readonly pid?: number;
  }[];
  readonly shards: readonly {
    readonly id: string;
    readonly cell: string;
    readonly model: string;
    readonly url: string;
    readonly pid?: number;
  }[];
  readonly databases: readonly {
    readonly region: string;
    readonly url: string;
    readonly pid?: number;
  }[];
  readonly health: { readonly url: string; readonly token: string; readonly pid?: number };
}

/** Writes dev.json at once and whole, for this user only: it holds keys. */
export function writeDevFile(path: string, content: DevFile): void {
  const next = `${path}.next`;
  writeFileSync(next, `${JSON.stringify(content, null, 2)}\n`, { mode: 0o600 });
  renameSync(next, path);
}

/** The dev.json that {@link writeDevFile} wrote. @throws Error when there is none. */
export function readDevFile(path: string): DevFile {
  return JSON.parse(readFileSync(path, "utf8")) as DevFile;
}
