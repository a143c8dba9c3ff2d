/** Wire types that are read here (protobuf.dev, "Encoding"); groups are not. */
const wireVarint = 0;
const wireFixed64 = 1;
const wireBytes = 2;
const wireFixed32 = 5;

/** One field of a message; a field that is a number of eight or four bytes is skipped by the reader. */
export interface ProtobufField {
  readonly field: number;
  readonly value: number | Uint8Array;
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 128) {
    bytes.push((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  return Buffer.from([...bytes, rest]);
}

function keyOf(field: number, wire: number): Buffer {
  return varint(field * 8 + wire);
}

/** A whole number ≥ 0. */
export function numberField(field: number, value: number): Buffer {
  return Buffer.concat([keyOf(field, wireVarint), varint(value)]);
}

/** A number of eight bytes, IEEE 754. */
export function doubleField(field: number, value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return Buffer.concat([keyOf(field, wireFixed64), bytes]);
}

/** Text, or an inner message. */
export function bytesField(field: number, value: string | Uint8Array): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([keyOf(field, wireBytes), varint(bytes.length), bytes]);
}

/** The fields of a message in their order, unknown ones included; null for bytes that are none. Numbers beyond 2^53 lose their end. */
export function readFields(message: Uint8Array): readonly ProtobufField[] | null {
  const fields: ProtobufField[] = [];
  let at = 0;

  function readVarint(): number | null {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = message[at];
      if (byte === undefined) return null;
      at += 1;
      value += (byte % 128) * 2 ** shift;
      if (byte < 128) return value;
    }
    return null;
  }

  while (at < message.length) {
    const key = readVarint();
    if (key === null || key < 8) return null;
    const field = Math.floor(key / 8);
    const wire = key % 8;
    if (wire === wireVarint) {
      const value = readVarint();
      if (value === null) return null;
      fields.push({ field, value });
      continue;
    }
    const length =
      wire === wireBytes
        ? readVarint()
        : wire === wireFixed64
          ? 8
          : wire === wireFixed32
            ? 4
            : null;
    if (length === null || at + length > message.length) return null;
    if (wire === wireBytes) fields.push({ field, value: message.subarray(at, at + length) });
    at += length;
  }
  return fields;
}

/** A whole number of a message; the last one counts, and one that was left out is null. */
export function numberOf(fields: readonly ProtobufField[], field: number): number | null {
  const found = fields.findLast((one) => one.field === field)?.value;
  return typeof found === "number" ? found : null;
}

/** Bytes of a message; the last ones count, and what was left out is null. */
export function bytesOf(fields: readonly ProtobufField[], field: number): Uint8Array | null {
  const found = fields.findLast((one) => one.field === field)?.value;
  return found instanceof Uint8Array ? found : null;
}
