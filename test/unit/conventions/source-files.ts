import { readFileSync, readdirSync } from "node:fs";
import { dirname, join, posix, relative } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's root. */
export const root = fileURLToPath(new URL("../../..", import.meta.url));

/** A source file, with its path from the root. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
}

/** Every file below `folder` whose name ends in `ending`, without what is installed or generated. */
export function filesBelow(folder: string, ending = ".ts"): readonly SourceFile[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(ending))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !path.includes("node_modules") && !path.includes("lint-fixtures"))
    .map((path) => ({ path: relative(root, path), text: readFileSync(path, "utf8") }));
}

/** What a file imports: paths from the root for our own files, names for packages and built-in modules. */
export function importsOf({ path, text }: SourceFile): readonly string[] {
  const found = text.matchAll(
    /^(?:import|export)\s[^;]*?from\s+"([^"]+)"|import\(\s*"([^"]+)"|^import\s+"([^"]+)"/gm,
  );
  return [...found].map(([, from, dynamic, bare]) => {
    const specifier = from ?? dynamic ?? bare ?? "";
    if (specifier.startsWith("#")) return specifier.slice(1);
    if (!specifier.startsWith(".")) return specifier;
    return posix.normalize(posix.join(dirname(path), specifier));
  });
}
