// The linter reads dev/ with the root configuration, which has no Node types; without them it takes Node's classes for `any`.
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import * as z from "zod";

import type { Engine, KeyImage } from "./engine.ts";

const imageSchema = z.strictObject({
  key: z.string(),
  value: z.discriminatedUnion("type", [
    z.strictObject({ type: z.literal("string"), data: z.string() }),
    z.strictObject({ type: z.literal("hash"), fields: z.array(z.tuple([z.string(), z.string()])) }),
    z.strictObject({ type: z.literal("set"), members: z.array(z.string()) }),
  ]),
  expiresAtMs: z.number().nullable(),
});

const snapshotSchema = z.strictObject({ v: z.literal(1), keys: z.array(imageSchema) });

/** How long after a change the file is written, in ms: a crash loses at most this much, and a burst costs one write. */
const saveDelayMs = 100;

/** The file that carries the data of an in-memory primary from one start to the next. Replaced as a whole, never half. */
export class Snapshot {
  readonly #path: string;
  readonly #engine: Engine;
  #timer: NodeJS.Timeout | undefined;
  #saving: Promise<void> = Promise.resolve();

  constructor(path: string, engine: Engine) {
    this.#path = path;
    this.#engine = engine;
  }

  /** Fills the engine from the file, if there is one. @throws Error naming the file when it cannot be read as a snapshot. */
  async load(): Promise<void> {
    if (!existsSync(this.#path)) return;
    let images: KeyImage[];
    try {
      images = snapshotSchema.parse(JSON.parse(await readFile(this.#path, "utf8"))).keys;
    } catch (cause) {
      throw new Error(`${this.#path} is no snapshot of this server: move it away or delete it`, {
        cause,
      });
    }
    await this.#engine.applyImages(images);
  }

  /** Notes a change: the file follows shortly after. */
  schedule(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#saving = this.#saving
        .then(() => this.#save())
        .catch((error: unknown) => {
          process.stderr.write(`upstash: snapshot not written: ${String(error)}\n`);
        });
    }, saveDelayMs);
  }

  /** Writes what is not written yet. */
  async close(): Promise<void> {
    await this.#saving;
    if (this.#timer === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#save();
  }

  async #save(): Promise<void> {
    const keys = await this.#engine.copyKeys(await this.#engine.listKeys());
    await mkdir(dirname(this.#path), { recursive: true });
    const written = `${this.#path}.new`;
    await writeFile(written, JSON.stringify({ v: 1, keys }), { mode: 0o600 });
    await rename(written, this.#path);
  }
}
