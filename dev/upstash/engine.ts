import type { Reply } from "./reply.ts";

/** A command name and its arguments, all byte strings; the name is upper case and its shape was checked by `refusalOf`. */
export type Command = readonly [name: string, ...args: string[]];

/** A key's value in a form that every engine can take over: replication, snapshots and roll-backs are made of these. */
export type ValueImage =
  | { readonly type: "string"; readonly data: string }
  | { readonly type: "hash"; readonly fields: readonly (readonly [string, string])[] }
  | { readonly type: "set"; readonly members: readonly string[] };

/** The state of one key; `value` null means that the key does not exist. `expiresAtMs` is absolute, null for never. */
export interface KeyImage {
  readonly key: string;
  readonly value: ValueImage | null;
  readonly expiresAtMs: number | null;
}

/** Something that runs commands and can hand over the state of its keys. */
export interface Engine {
  /** Runs one command; a refusal is an error reply. Rejects only when the engine itself cannot be reached. */
  execute(command: Command): Promise<Reply>;
  /** Runs all commands with nothing in between; an error reply instead of a list means that none ran. */
  executeAtomically(commands: readonly Command[]): Promise<Reply>;
  /** The names of all keys that exist. */
  listKeys(): Promise<readonly string[]>;
  /** The state of the keys named, missing ones included. */
  copyKeys(keys: readonly string[]): Promise<readonly KeyImage[]>;
  /** Sets each key to the state given. */
  applyImages(images: readonly KeyImage[]): Promise<void>;
  close(): Promise<void>;
}
