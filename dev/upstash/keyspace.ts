import type { KeyImage, ValueImage } from "./engine.ts";

/** A live value; hashes and sets keep the order of insertion. */
export type Value =
  | { readonly type: "string"; readonly data: string }
  | { readonly type: "hash"; readonly fields: Map<string, string> }
  | { readonly type: "set"; readonly members: Set<string> };

export interface Entry {
  readonly value: Value;
  readonly expiresAtMs: number | null;
}

/** A refusal inside a command, turned into an error reply by the engine. */
export class CommandRefusal extends Error {}

/** Most keys that one keyspace holds: health hints are a few hundred, so reaching this is a leak in the caller. */
const keysMax = 100_000;

const wrongType = "WRONGTYPE Operation against a key holding the wrong kind of value";

/** The keys of one in-memory database. An expired key is gone from the moment it expires, whoever looks first. */
export class Keyspace {
  readonly #entries = new Map<string, Entry>();
  readonly #nowMs: () => number;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  nowMs(): number {
    return this.#nowMs();
  }

  find(key: string): Entry | undefined {
    const entry = this.#entries.get(key);
    if (entry?.expiresAtMs != null && entry.expiresAtMs <= this.#nowMs()) {
      this.#entries.delete(key);
      return undefined;
    }
    return entry;
  }

  /** The string at a key, undefined when missing. @throws CommandRefusal for another type. */
  findString(key: string): string | undefined {
    const value = this.find(key)?.value;
    if (value === undefined) return undefined;
    if (value.type !== "string") throw new CommandRefusal(wrongType);
    return value.data;
  }

  /** The hash at a key, undefined when missing. @throws CommandRefusal for another type. */
  findHash(key: string): Map<string, string> | undefined {
    const value = this.find(key)?.value;
    if (value === undefined) return undefined;
    if (value.type !== "hash") throw new CommandRefusal(wrongType);
    return value.fields;
  }

  /** The set at a key, undefined when missing. @throws CommandRefusal for another type. */
  findSet(key: string): Set<string> | undefined {
    const value = this.find(key)?.value;
    if (value === undefined) return undefined;
    if (value.type !== "set") throw new CommandRefusal(wrongType);
    return value.members;
  }

  /** Stores an entry. @throws CommandRefusal when the keyspace is full. */
  put(key: string, entry: Entry): void {
    if (!this.#entries.has(key) && this.#entries.size >= keysMax) {
      throw new CommandRefusal("OOM command not allowed when used memory > 'maxmemory'.");
    }
    this.#entries.set(key, entry);
  }

  /** Removes a key; true when it existed. */
  remove(key: string): boolean {
    return this.find(key) !== undefined && this.#entries.delete(key);
  }

  clear(): void {
    this.#entries.clear();
  }

  listKeys(): string[] {
    return [...this.#entries.keys()].filter((key) => this.find(key) !== undefined);
  }

  copyKey(key: string): KeyImage {
    const entry = this.find(key);
    return {
      key,
      value: entry === undefined ? null : imageOf(entry.value),
      expiresAtMs: entry?.expiresAtMs ?? null,
    };
  }

  applyImage({ key, value, expiresAtMs }: KeyImage): void {
    if (value === null) this.#entries.delete(key);
    else this.put(key, { value: valueOf(value), expiresAtMs });
  }
}

function imageOf(value: Value): ValueImage {
  switch (value.type) {
    case "string":
      return value;
    case "hash":
      return { type: "hash", fields: [...value.fields] };
    case "set":
      return { type: "set", members: [...value.members] };
  }
}

function valueOf(image: ValueImage): Value {
  switch (image.type) {
    case "string":
      return image;
    case "hash":
      return { type: "hash", fields: new Map(image.fields) };
    case "set":
      return { type: "set", members: new Set(image.members) };
  }
}
