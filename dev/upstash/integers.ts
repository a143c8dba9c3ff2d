import { CommandRefusal } from "./keyspace.ts";

const int64Max = 2n ** 63n - 1n;
const int64Min = -(2n ** 63n);

/** A signed 64-bit integer as Redis reads one (no plus, no leading zero), or undefined. */
export function parseInteger(text: string): bigint | undefined {
  if (!/^(0|-?[1-9][0-9]{0,18})$/.test(text)) return undefined;
  const value = BigInt(text);
  return value > int64Max || value < int64Min ? undefined : value;
}

/** An argument that must be an integer. @throws CommandRefusal when it is none. */
export function integerOf(text: string): bigint {
  const value = parseInteger(text);
  if (value === undefined) {
    throw new CommandRefusal("ERR value is not an integer or out of range");
  }
  return value;
}

/** The sum, within 64 bits. @throws CommandRefusal beyond them. */
export function addWithin64Bits(left: bigint, right: bigint): bigint {
  const sum = left + right;
  if (sum > int64Max || sum < int64Min) {
    throw new CommandRefusal("ERR increment or decrement would overflow");
  }
  return sum;
}
