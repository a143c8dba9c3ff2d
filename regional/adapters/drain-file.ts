import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import type { DrainFile } from "../ports/drain-file.ts";

const schema = z.strictObject({
  v: z.literal(1),
  shards: z.array(
    z.strictObject({
      shard: z.string().min(1).max(128),
      sinceMs: z.int().min(0),
      deadlineMs: z.int().min(0),
    }),
  ),
});

/**
 * The drained shards in `<dataDir>/drained-shards.json`. Written beside it, flushed and renamed, so that a crash leaves
 * the old file or the new one. A file that is no such thing is an error and not an empty list: a cell that forgot a drain
 * would send prompts to a shard that is being taken away.
 */
export function createDrainFile(dataDir: string): DrainFile {
  const path = join(dataDir, "drained-shards.json");
  return {
    read() {
      let text: string;
      try {
        text = readFileSync(path, "utf8");
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
        throw error;
      }
      return schema.parse(JSON.parse(text)).shards;
    },
    write(shards) {
      mkdirSync(dataDir, { recursive: true });
      const file = openSync(`${path}.new`, "w", 0o600);
      try {
        writeFileSync(file, JSON.stringify({ v: 1, shards }));
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      renameSync(`${path}.new`, path);
    },
  };
}
