import { collectionCommands } from "./collection-commands.ts";
import type { Command, Engine, KeyImage } from "./engine.ts";
import { keyCommands } from "./key-commands.ts";
import { CommandRefusal, Keyspace } from "./keyspace.ts";
import type { Reply } from "./reply.ts";
import { stringCommands } from "./string-commands.ts";

const handlers = new Map([...keyCommands, ...stringCommands, ...collectionCommands]);

/**
 * Runs commands on a keyspace in this process. Every method does its whole work before its first await, so a transaction
 * is atomic by construction.
 */
export class MemoryEngine implements Engine {
  readonly #keys: Keyspace;

  constructor(nowMs: () => number) {
    this.#keys = new Keyspace(nowMs);
  }

  async execute(command: Command): Promise<Reply> {
    return this.#run(command);
  }

  async executeAtomically(commands: readonly Command[]): Promise<Reply> {
    return commands.map((command) => this.#run(command));
  }

  async listKeys(): Promise<readonly string[]> {
    return this.#keys.listKeys();
  }

  async copyKeys(keys: readonly string[]): Promise<readonly KeyImage[]> {
    return keys.map((key) => this.#keys.copyKey(key));
  }

  async applyImages(images: readonly KeyImage[]): Promise<void> {
    for (const image of images) this.#keys.applyImage(image);
  }

  async close(): Promise<void> {
    this.#keys.clear();
  }

  #run([name, ...args]: Command): Reply {
    const handler = handlers.get(name);
    if (handler === undefined) return { error: `ERR Command is not available: '${name}'` };
    try {
      return handler(this.#keys, args);
    } catch (error) {
      if (error instanceof CommandRefusal) return { error: error.message };
      throw error;
    }
  }
}
