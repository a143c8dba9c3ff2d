import { addWithin64Bits, parseInteger, integerOf } from "./integers.ts";
import { CommandRefusal } from "./keyspace.ts";
import type { Keyspace } from "./keyspace.ts";
import type { Reply } from "./reply.ts";
import type { Handler } from "./string-commands.ts";

function hashForWrite(keys: Keyspace, key: string): Map<string, string> {
  const existing = keys.findHash(key);
  if (existing !== undefined) return existing;
  const fields = new Map<string, string>();
  keys.put(key, { value: { type: "hash", fields }, expiresAtMs: null });
  return fields;
}

function setForWrite(keys: Keyspace, key: string): Set<string> {
  const existing = keys.findSet(key);
  if (existing !== undefined) return existing;
  const members = new Set<string>();
  keys.put(key, { value: { type: "set", members }, expiresAtMs: null });
  return members;
}

/** Deletes members and, as Redis does, the key with its last member; answers how many were there. */
function removeMembers(
  keys: Keyspace,
  key: string,
  collection: Map<string, string> | Set<string> | undefined,
  members: readonly string[],
): number {
  if (collection === undefined) return 0;
  const removed = members.filter((member) => collection.delete(member)).length;
  if (collection.size === 0) keys.remove(key);
  return removed;
}

function setFields(keys: Keyspace, [key = "", ...pairs]: readonly string[]): Reply {
  const fields = hashForWrite(keys, key);
  const sizeBefore = fields.size;
  for (let at = 0; at + 1 < pairs.length; at += 2) fields.set(pairs[at] ?? "", pairs[at + 1] ?? "");
  return fields.size - sizeBefore;
}

function incrementField(keys: Keyspace, [key = "", field = "", by = ""]: readonly string[]): Reply {
  const amount = integerOf(by);
  const before = parseInteger(keys.findHash(key)?.get(field) ?? "0");
  if (before === undefined) throw new CommandRefusal("ERR hash value is not an integer");
  const sum = addWithin64Bits(before, amount);
  hashForWrite(keys, key).set(field, String(sum));
  return Number(sum);
}

function addMembers(keys: Keyspace, [key = "", ...members]: readonly string[]): Reply {
  const set = setForWrite(keys, key);
  const sizeBefore = set.size;
  for (const member of members) set.add(member);
  return set.size - sizeBefore;
}

/** Commands on hashes and sets. */
export const collectionCommands: ReadonlyMap<string, Handler> = new Map<string, Handler>([
  ["HGET", (keys, [key = "", field = ""]) => keys.findHash(key)?.get(field) ?? null],
  [
    "HMGET",
    (keys, [key = "", ...fields]) => {
      const hash = keys.findHash(key);
      return fields.map((field) => hash?.get(field) ?? null);
    },
  ],
  ["HGETALL", (keys, [key = ""]) => [...(keys.findHash(key) ?? [])].flat()],
  ["HEXISTS", (keys, [key = "", field = ""]) => (keys.findHash(key)?.has(field) ? 1 : 0)],
  ["HLEN", (keys, [key = ""]) => keys.findHash(key)?.size ?? 0],
  ["HSET", setFields],
  ["HDEL", (keys, [key = "", ...fields]) => removeMembers(keys, key, keys.findHash(key), fields)],
  ["HINCRBY", incrementField],
  ["SMEMBERS", (keys, [key = ""]) => [...(keys.findSet(key) ?? [])]],
  ["SISMEMBER", (keys, [key = "", member = ""]) => (keys.findSet(key)?.has(member) ? 1 : 0)],
  ["SCARD", (keys, [key = ""]) => keys.findSet(key)?.size ?? 0],
  ["SADD", addMembers],
  ["SREM", (keys, [key = "", ...members]) => removeMembers(keys, key, keys.findSet(key), members)],
]);
