/** A writer of GGUF version 3 (ggml, docs/gguf.md): header, metadata, tensor infos, then the tensors, each aligned. Little-endian. */

/** A value of the metadata. */
export type GgufValue =
  | { readonly kind: "uint32" | "float32"; readonly value: number }
  | { readonly kind: "bool"; readonly value: boolean }
  | { readonly kind: "string"; readonly value: string }
  | { readonly kind: "strings"; readonly values: readonly string[] }
  | { readonly kind: "int32s" | "float32s"; readonly values: readonly number[] };

/** A tensor of 32-bit floats; the first dimension is the one whose numbers lie next to each other. */
export interface GgufTensor {
  readonly name: string;
  readonly dimensions: readonly number[];
  readonly data: Float32Array;
}

/** `general.alignment` unless the file says otherwise. */
const alignment = 32;
const version = 3;
/** Ids of the format's value types. */
const types = { uint32: 4, int32: 5, float32: 6, bool: 7, string: 8, array: 9 } as const;
/** Id of 32-bit floats among ggml's tensor types. */
const tensorTypeFloat32 = 0;

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}

function float32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
}

function uint64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, "utf8");
  return Buffer.concat([uint64(bytes.length), bytes]);
}

function array(type: number, values: readonly Buffer[]): Buffer {
  return Buffer.concat([uint32(types.array), uint32(type), uint64(values.length), ...values]);
}

function valueBytes(value: GgufValue): Buffer {
  switch (value.kind) {
    case "uint32":
      return Buffer.concat([uint32(types.uint32), uint32(value.value)]);
    case "float32":
      return Buffer.concat([uint32(types.float32), float32(value.value)]);
    case "bool":
      return Buffer.concat([uint32(types.bool), Buffer.from([value.value ? 1 : 0])]);
    case "string":
      return Buffer.concat([uint32(types.string), text(value.value)]);
    case "strings":
      return array(types.string, value.values.map(text));
    case "int32s":
      return array(types.int32, value.values.map(int32));
    case "float32s":
      return array(types.float32, value.values.map(float32));
  }
}

function padding(length: number): Buffer {
  return Buffer.alloc((alignment - (length % alignment)) % alignment);
}

/** The bytes of a GGUF file. */
export function writeGguf(
  metadata: Readonly<Record<string, GgufValue>>,
  tensors: readonly GgufTensor[],
): Buffer {
  const entries = Object.entries(metadata);
  const head: Buffer[] = [
    Buffer.from("GGUF", "latin1"),
    uint32(version),
    uint64(tensors.length),
    uint64(entries.length),
    ...entries.flatMap(([key, value]) => [text(key), valueBytes(value)]),
  ];
  const blocks: Buffer[] = [];
  let offset = 0;
  for (const { data, dimensions, name } of tensors) {
    head.push(text(name), uint32(dimensions.length), ...dimensions.map(uint64));
    head.push(uint32(tensorTypeFloat32), uint64(offset));
    const block = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    const filled = Buffer.concat([block, padding(block.length)]);
    blocks.push(filled);
    offset += filled.length;
  }
  const start = Buffer.concat(head);
  return Buffer.concat([start, padding(start.length), ...blocks]);
}
