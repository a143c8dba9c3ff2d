import type { Command, Engine, KeyImage, ValueImage } from "./engine.ts";
import { isErrorReply } from "./reply.ts";
import type { Reply } from "./reply.ts";
import { RespConnection } from "./resp-connection.ts";

/** Runs commands on a redis-server (7.0 or later). It reads and writes database 0 only, where the caller's data is. */
export class RedisEngine implements Engine {
  readonly #connection: RespConnection;
  readonly #nowMs: () => number;

  constructor(url: URL, nowMs: () => number) {
    this.#connection = new RespConnection({ host: url.hostname, port: Number(url.port || 6379) });
    this.#nowMs = nowMs;
  }

  async execute(command: Command): Promise<Reply> {
    const [reply] = await this.#connection.send([command]);
    return reply ?? null;
  }

  async executeAtomically(commands: readonly Command[]): Promise<Reply> {
    const replies = await this.#connection.send([["MULTI"], ...commands, ["EXEC"]]);
    return replies.at(-1) ?? null;
  }

  async listKeys(): Promise<readonly string[]> {
    return texts(await this.execute(["KEYS", "*"]));
  }

  async copyKeys(keys: readonly string[]): Promise<readonly KeyImage[]> {
    if (keys.length === 0) return [];
    const kinds = await this.#connection.send(keys.map((key) => ["TYPE", key]));
    const reads = keys.map((key, index) => [readCommandOf(kinds[index] ?? null), key]);
    const values = await this.#connection.send(reads);
    const expiries = await this.#connection.send(keys.map((key) => ["PTTL", key]));
    const nowMs = this.#nowMs();
    return keys.map((key, index) => {
      const remainingMs = Number(expiries[index]);
      return {
        key,
        value: imageOf(reads[index]?.[0], values[index] ?? null),
        expiresAtMs: remainingMs >= 0 ? nowMs + remainingMs : null,
      };
    });
  }

  async applyImages(images: readonly KeyImage[]): Promise<void> {
    if (images.length === 0) return;
    const commands = images.flatMap((image) => commandsOf(image));
    const replies = await this.#connection.send([["MULTI"], ...commands, ["EXEC"]]);
    const failed = replies.find(isErrorReply);
    if (failed !== undefined) throw new Error(failed.error);
  }

  async close(): Promise<void> {
    this.#connection.close();
  }
}

/** The command that reads a whole value of the type; a type that is not served reads as missing. */
function readCommandOf(kind: Reply): string {
  const type = typeof kind === "object" && kind !== null && "status" in kind ? kind.status : "none";
  if (type === "hash") return "HGETALL";
  return type === "set" ? "SMEMBERS" : "GET";
}

function imageOf(readCommand: string | undefined, value: Reply): ValueImage | null {
  if (readCommand === "GET") {
    return typeof value === "string" ? { type: "string", data: value } : null;
  }
  const items = texts(value);
  if (items.length === 0) return null;
  if (readCommand === "SMEMBERS") return { type: "set", members: items };
  const fields: [string, string][] = [];
  for (let at = 0; at + 1 < items.length; at += 2) {
    fields.push([items[at] ?? "", items[at + 1] ?? ""]);
  }
  return { type: "hash", fields };
}

function commandsOf({ key, value, expiresAtMs }: KeyImage): string[][] {
  const commands = [["DEL", key]];
  if (value?.type === "string") commands.push(["SET", key, value.data]);
  if (value?.type === "hash") commands.push(["HSET", key, ...value.fields.flat()]);
  if (value?.type === "set") commands.push(["SADD", key, ...value.members]);
  if (value !== null && expiresAtMs !== null) {
    commands.push(["PEXPIREAT", key, String(expiresAtMs)]);
  }
  return commands;
}

function texts(reply: Reply): string[] {
  return Array.isArray(reply) ? reply.filter((item) => typeof item === "string") : [];
}
