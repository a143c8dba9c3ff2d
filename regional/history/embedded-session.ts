import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { PGlite } from "@electric-sql/pglite";
import { drizzle } from "drizzle-orm/pglite";
import type { DatabaseSession } from "./session.ts";

/**
 * PGlite in `<dataDir>/postgres`, which must belong to this process alone. Statements run one after another. An unclosed
 * one keeps the process alive, so every path ends in `end`. @throws Error when the folder cannot be opened.
 */
export async function openEmbeddedSession(dataDir: string): Promise<DatabaseSession> {
  const folder = join(dataDir, "postgres");
  await mkdir(folder, { recursive: true });
  const client = await PGlite.create({ dataDir: folder });
  return {
    db: drizzle({ client, casing: "snake_case" }),
    isRemote: false,
    end: async () => {
      if (!client.closed) await client.close();
    },
  };
}
