import { addWithin64Bits, integerOf } from "./integers.ts";
import { CommandRefusal } from "./keyspace.ts";
import type { Keyspace } from "./keyspace.ts";
import { OK } from "./reply.ts";
import type { Reply } from "./reply.ts";

/** A command of the in-memory engine; the number of arguments was checked before. */
export type Handler = (keys: Keyspace, args: readonly string[]) => Reply;

interface SetOptions {
  readonly expiresAtMs: number | null | "keep";
  readonly condition: "NX" | "XX" | undefined;
  readonly isGet: boolean;
}

const invalidExpiry = new CommandRefusal("ERR invalid expire time in 'set' command");

function parseSetOptions(args: readonly string[], nowMs: number): SetOptions {
  let expiresAtMs: SetOptions["expiresAtMs"] | undefined;
  let condition: SetOptions["condition"];
  let isGet = false;
  for (let at = 0; at < args.length; at += 1) {
    const option = (args[at] ?? "").toUpperCase();
    if ((option === "NX" || option === "XX") && (condition ?? option) === option) {
      condition = option;
    } else if (option === "GET") isGet = true;
    else if (option === "KEEPTTL" && expiresAtMs === undefined) expiresAtMs = "keep";
    else if (/^(EX|PX|EXAT|PXAT)$/.test(option) && expiresAtMs === undefined) {
      const amount = args[(at += 1)];
      if (amount === undefined) throw new CommandRefusal("ERR syntax error");
      const given = Number(integerOf(amount));
      if (given <= 0) throw invalidExpiry;
      const sinceMs = option.endsWith("AT") ? 0 : nowMs;
      expiresAtMs = sinceMs + (option.startsWith("EX") ? given * 1000 : given);
    } else throw new CommandRefusal("ERR syntax error");
  }
  return { expiresAtMs: expiresAtMs ?? null, condition, isGet };
}

function set(keys: Keyspace, [key = "", data = "", ...rest]: readonly string[]): Reply {
  const options = parseSetOptions(rest, keys.nowMs());
  const before = options.isGet ? (keys.findString(key) ?? null) : null;
  const existing = keys.find(key);
  const isRefused =
    (options.condition === "NX" && existing !== undefined) ||
    (options.condition === "XX" && existing === undefined);
  if (isRefused) return options.isGet ? before : null;
  const expiresAtMs =
    options.expiresAtMs === "keep" ? (existing?.expiresAtMs ?? null) : options.expiresAtMs;
  keys.put(key, { value: { type: "string", data }, expiresAtMs });
  return options.isGet ? before : OK;
}

function increment(keys: Keyspace, key: string, by: bigint): Reply {
  const sum = addWithin64Bits(integerOf(keys.findString(key) ?? "0"), by);
  const expiresAtMs = keys.find(key)?.expiresAtMs ?? null;
  keys.put(key, { value: { type: "string", data: String(sum) }, expiresAtMs });
  return Number(sum);
}

function setMany(keys: Keyspace, args: readonly string[]): Reply {
  for (let at = 0; at + 1 < args.length; at += 2) {
    const data = args[at + 1] ?? "";
    keys.put(args[at] ?? "", { value: { type: "string", data }, expiresAtMs: null });
  }
  return OK;
}

/** MGET gives null for a key of another type, where GET refuses (redis.io/commands/mget). */
function getLeniently(keys: Keyspace, key: string): Reply {
  const value = keys.find(key)?.value;
  return value?.type === "string" ? value.data : null;
}

/** GET, SET and their neighbours. */
export const stringCommands: ReadonlyMap<string, Handler> = new Map<string, Handler>([
  ["GET", (keys, [key = ""]) => keys.findString(key) ?? null],
  ["MGET", (keys, args) => args.map((key) => getLeniently(keys, key))],
  ["STRLEN", (keys, [key = ""]) => (keys.findString(key) ?? "").length],
  ["SET", set],
  ["MSET", setMany],
  [
    "GETDEL",
    (keys, [key = ""]) => {
      const before = keys.findString(key) ?? null;
      keys.remove(key);
      return before;
    },
  ],
  ["INCR", (keys, [key = ""]) => increment(keys, key, 1n)],
  ["INCRBY", (keys, [key = "", by = ""]) => increment(keys, key, integerOf(by))],
  ["DECR", (keys, [key = ""]) => increment(keys, key, -1n)],
  ["DECRBY", (keys, [key = "", by = ""]) => increment(keys, key, -integerOf(by))],
]);
