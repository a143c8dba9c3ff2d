import type { Command } from "./engine.ts";
import type { ErrorReply } from "./reply.ts";

/** Which arguments are keys; `everything` stands for commands that touch or list the whole database. */
type KeyPositions = "none" | "first" | "all" | "everyOther" | "everything";

interface CommandShape {
  readonly access: "read" | "write";
  readonly keys: KeyPositions;
  readonly argumentsMin: number;
  readonly argumentsMax: number;
}

function shape(
  access: "read" | "write",
  keys: KeyPositions,
  argumentsMin: number,
  argumentsMax = argumentsMin,
): CommandShape {
  return { access, keys, argumentsMin, argumentsMax };
}

/** The commands that both engines serve: those in use and their neighbours. Argument counts: redis.io/commands, Redis 7.0. */
const shapes: ReadonlyMap<string, CommandShape> = new Map([
  ["PING", shape("read", "none", 0, 1)],
  ["ECHO", shape("read", "none", 1)],
  ["TIME", shape("read", "none", 0)],
  ["DBSIZE", shape("read", "everything", 0)],
  ["KEYS", shape("read", "everything", 1)],
  ["SCAN", shape("read", "everything", 1, Infinity)],
  ["FLUSHALL", shape("write", "everything", 0, 1)],
  ["EXISTS", shape("read", "all", 1, Infinity)],
  ["TYPE", shape("read", "first", 1)],
  ["TTL", shape("read", "first", 1)],
  ["PTTL", shape("read", "first", 1)],
  ["DEL", shape("write", "all", 1, Infinity)],
  ["UNLINK", shape("write", "all", 1, Infinity)],
  ["EXPIRE", shape("write", "first", 2, 3)],
  ["PEXPIRE", shape("write", "first", 2, 3)],
  ["PERSIST", shape("write", "first", 1)],
  ["GET", shape("read", "first", 1)],
  ["MGET", shape("read", "all", 1, Infinity)],
  ["STRLEN", shape("read", "first", 1)],
  ["SET", shape("write", "first", 2, Infinity)],
  ["MSET", shape("write", "everyOther", 2, Infinity)],
  ["GETDEL", shape("write", "first", 1)],
  ["INCR", shape("write", "first", 1)],
  ["INCRBY", shape("write", "first", 2)],
  ["DECR", shape("write", "first", 1)],
  ["DECRBY", shape("write", "first", 2)],
  ["HGET", shape("read", "first", 2)],
  ["HMGET", shape("read", "first", 2, Infinity)],
  ["HGETALL", shape("read", "first", 1)],
  ["HEXISTS", shape("read", "first", 2)],
  ["HLEN", shape("read", "first", 1)],
  ["HSET", shape("write", "first", 3, Infinity)],
  ["HDEL", shape("write", "first", 2, Infinity)],
  ["HINCRBY", shape("write", "first", 3)],
  ["SMEMBERS", shape("read", "first", 1)],
  ["SISMEMBER", shape("read", "first", 2)],
  ["SCARD", shape("read", "first", 1)],
  ["SADD", shape("write", "first", 2, Infinity)],
  ["SREM", shape("write", "first", 2, Infinity)],
]);

const scripting = new Set(["EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "SCRIPT", "FCALL"]);

/** Reads that Upstash refuses to its read-only token as well (Upstash documentation, "REST API", security). */
const readsOfFullTokenOnly = new Set(["KEYS", "SCAN"]);

/** Why a command cannot run at all, or undefined when its name and number of arguments are right. */
export function refusalOf([name, ...args]: Command): ErrorReply | undefined {
  if (scripting.has(name)) {
    return { error: `ERR ${name} is refused: the local server runs no scripts` };
  }
  const found = shapes.get(name);
  if (found === undefined) {
    return { error: `ERR Command is not available: '${name}'` };
  }
  const isUnpaired =
    (found.keys === "everyOther" && args.length % 2 === 1) ||
    (name === "HSET" && args.length % 2 === 0);
  if (args.length < found.argumentsMin || args.length > found.argumentsMax || isUnpaired) {
    return { error: `ERR wrong number of arguments for '${name.toLowerCase()}' command` };
  }
  return undefined;
}

/** Whether a command may change data; an unknown one counts as a write, so that a read-only token never reaches it. */
export function isWrite([name]: Command): boolean {
  return shapes.get(name)?.access !== "read";
}

/** Whether the read-only token may run a command. */
export function isPermittedReadOnly(command: Command): boolean {
  return !isWrite(command) && !readsOfFullTokenOnly.has(command[0]);
}

/** The keys that a command names, or `everything` for one that touches or lists the whole database. */
export function keysOf([name, ...args]: Command): readonly string[] | "everything" {
  const positions = shapes.get(name)?.keys ?? "none";
  switch (positions) {
    case "none":
      return [];
    case "first":
      return args.slice(0, 1);
    case "all":
      return args;
    case "everyOther":
      return args.filter((_, index) => index % 2 === 0);
    case "everything":
      return "everything";
  }
}
