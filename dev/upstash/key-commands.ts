import { expressionOfGlob } from "./glob.ts";
import { integerOf } from "./integers.ts";
import { CommandRefusal } from "./keyspace.ts";
import type { Keyspace } from "./keyspace.ts";
import { OK } from "./reply.ts";
import type { Reply } from "./reply.ts";
import type { Handler } from "./string-commands.ts";

function matching(keys: Keyspace, glob: string): string[] {
  const expression = expressionOfGlob(glob);
  return keys.listKeys().filter((key) => expression.test(key));
}

/** Answers every matching key at once with cursor 0: `COUNT` is only a hint, so this keeps all of SCAN's guarantees. */
function scan(keys: Keyspace, [cursor = "", ...rest]: readonly string[]): Reply {
  if (!/^[0-9]{1,19}$/.test(cursor)) throw new CommandRefusal("ERR invalid cursor");
  let found = keys.listKeys();
  for (let at = 0; at < rest.length; at += 2) {
    const argument = rest[at + 1];
    if (argument === undefined) throw new CommandRefusal("ERR syntax error");
    switch (rest[at]?.toUpperCase() ?? "") {
      case "MATCH": {
        const expression = expressionOfGlob(argument);
        found = found.filter((key) => expression.test(key));
        break;
      }
      case "TYPE":
        found = found.filter((key) => keys.find(key)?.value.type === argument.toLowerCase());
        break;
      case "COUNT":
        if (integerOf(argument) < 1n) throw new CommandRefusal("ERR syntax error");
        break;
      default:
        throw new CommandRefusal("ERR syntax error");
    }
  }
  return ["0", found];
}

function expire(unitMs: number): Handler {
  return (keys, [key = "", amount = "", option = ""]) => {
    const expiresAtMs = keys.nowMs() + Number(integerOf(amount)) * unitMs;
    const condition = option.toUpperCase();
    if (!["", "NX", "XX", "GT", "LT"].includes(condition)) {
      throw new CommandRefusal(`ERR Unsupported option ${option}`);
    }
    const entry = keys.find(key);
    if (entry === undefined) return 0;
    const beforeMs = entry.expiresAtMs;
    const isRefused =
      (condition === "NX" && beforeMs !== null) ||
      (condition === "XX" && beforeMs === null) ||
      (condition === "GT" && expiresAtMs <= (beforeMs ?? Infinity)) ||
      (condition === "LT" && expiresAtMs >= (beforeMs ?? Infinity));
    if (isRefused) return 0;
    if (expiresAtMs <= keys.nowMs()) keys.remove(key);
    else keys.put(key, { ...entry, expiresAtMs });
    return 1;
  };
}

function timeToLive(unitMs: number): Handler {
  return (keys, [key = ""]) => {
    const entry = keys.find(key);
    if (entry === undefined) return -2;
    if (entry.expiresAtMs === null) return -1;
    return Math.round((entry.expiresAtMs - keys.nowMs()) / unitMs);
  };
}

function persist(keys: Keyspace, [key = ""]: readonly string[]): Reply {
  const entry = keys.find(key);
  if (entry === undefined || entry.expiresAtMs === null) return 0;
  keys.put(key, { ...entry, expiresAtMs: null });
  return 1;
}

function time(keys: Keyspace): Reply {
  const nowMs = keys.nowMs();
  return [String(Math.floor(nowMs / 1000)), String((nowMs % 1000) * 1000)];
}

function flush(keys: Keyspace, [mode]: readonly string[]): Reply {
  if (mode !== undefined && !["ASYNC", "SYNC"].includes(mode.toUpperCase())) {
    throw new CommandRefusal("ERR syntax error");
  }
  keys.clear();
  return OK;
}

const remove: Handler = (keys, args) => args.filter((key) => keys.remove(key)).length;

/** Commands on keys of any type and on the server. */
export const keyCommands: ReadonlyMap<string, Handler> = new Map<string, Handler>([
  ["PING", (_, [message]) => message ?? { status: "PONG" }],
  ["ECHO", (_, [message = ""]) => message],
  ["TIME", time],
  ["DBSIZE", (keys) => keys.listKeys().length],
  ["KEYS", (keys, [glob = ""]) => matching(keys, glob)],
  ["SCAN", scan],
  ["FLUSHALL", flush],
  ["EXISTS", (keys, args) => args.filter((key) => keys.find(key) !== undefined).length],
  ["TYPE", (keys, [key = ""]) => ({ status: keys.find(key)?.value.type ?? "none" })],
  ["TTL", timeToLive(1000)],
  ["PTTL", timeToLive(1)],
  ["DEL", remove],
  ["UNLINK", remove],
  ["EXPIRE", expire(1000)],
  ["PEXPIRE", expire(1)],
  ["PERSIST", persist],
]);
