/**
 * Reversible tokenizer. A token is a special mark, a vocabulary entry, or up to three literal bytes.
 * What an assistant wrote has ids of its own range, so that in any list of ids the open answer is the run of
 * assistant ids at its end: a continuation needs no other mark, and a later turn hits the same KV blocks.
 */
import { vocabulary } from "./vocabulary.ts";

/** Marks of the chat template. They have no bytes. */
export const specialTokens = {
  begin: 1,
  system: 2,
  user: 3,
  assistant: 4,
  tool: 5,
  end: 6,
  tools: 7,
  format: 8,
  image: 9,
  call: 10,
} as const;

const vocabularyBase = 100;
/** First id of the literals of one, two and three bytes. */
const literalBases = [10_000, 20_000, 100_000] as const;
/** Added to the id of every token that an assistant wrote. */
const assistantBase = 2 ** 25;

/** Ids are below this; a request with a higher one is refused. */
export const tokenIdMax = 2 * assistantBase - 1;

/** Who wrote a text: decides the range of its ids. */
export type Author = "prompt" | "assistant";

const byFirstByte = new Map<number, { bytes: Buffer; index: number }[]>();
for (const [index, bytes] of vocabulary.entries()) {
  const first = bytes[0] ?? 0;
  const bucket = byFirstByte.get(first) ?? [];
  bucket.push({ bytes, index });
  byFirstByte.set(first, bucket);
}

function match(bytes: Buffer, at: number): { bytes: Buffer; index: number } | undefined {
  const bucket = byFirstByte.get(bytes[at] ?? -1);
  return bucket?.find(
    (entry) =>
      bytes.compare(
        entry.bytes,
        0,
        entry.bytes.length,
        at,
        Math.min(at + entry.bytes.length, bytes.length),
      ) === 0,
  );
}

/** Id of a vocabulary entry as an assistant writes it. */
export function assistantTokenId(vocabularyIndex: number): number {
  return assistantBase + vocabularyBase + vocabularyIndex;
}

/** Tokens of a text. O(bytes). */
export function encode(text: string, author: Author): number[] {
  const bytes = Buffer.from(text, "utf8");
  const base = author === "assistant" ? assistantBase : 0;
  const ids: number[] = [];
  let literal = 0;
  let literalBytes = 0;
  function flush(): void {
    if (literalBytes === 0) return;
    ids.push(base + (literalBases[literalBytes - 1] ?? 0) + literal);
    literal = 0;
    literalBytes = 0;
  }
  let at = 0;
  while (at < bytes.length) {
    const found = match(bytes, at);
    if (found !== undefined) {
      flush();
      ids.push(base + vocabularyBase + found.index);
      at += found.bytes.length;
      continue;
    }
    literal = literal * 256 + (bytes[at] ?? 0);
    literalBytes += 1;
    at += 1;
    if (literalBytes === 3) flush();
  }
  flush();
  return ids;
}

const noBytes = Buffer.alloc(0);

/** Bytes of one token; none for special and unassigned ids. */
export function bytesOfToken(id: number): Buffer {
  const plain = id >= assistantBase ? id - assistantBase : id;
  if (plain >= literalBases[2]) {
    const value = plain - literalBases[2];
    return value < 2 ** 24 ? Buffer.from([value >> 16, (value >> 8) & 255, value & 255]) : noBytes;
  }
  if (plain >= literalBases[1]) {
    const value = plain - literalBases[1];
    return value < 2 ** 16 ? Buffer.from([value >> 8, value & 255]) : noBytes;
  }
  if (plain >= literalBases[0]) {
    const value = plain - literalBases[0];
    return value < 256 ? Buffer.from([value]) : noBytes;
  }
  return vocabulary[plain - vocabularyBase] ?? noBytes;
}

/** Bytes of a list of tokens. */
export function bytesOfTokens(ids: readonly number[]): Buffer {
  return Buffer.concat(ids.map(bytesOfToken));
}

/** Text of a list of tokens; incomplete characters become U+FFFD. */
export function decode(ids: readonly number[]): string {
  return bytesOfTokens(ids).toString("utf8");
}

/** How many ids at the end of a prompt belong to an answer that is still open. */
export function openAnswerLength(ids: readonly number[]): number {
  let length = 0;
  while (length < ids.length && (ids[ids.length - 1 - length] ?? 0) >= assistantBase) length += 1;
  return length;
}

/** Length in bytes of the incomplete UTF-8 character that a text ends with; 0 when it is whole. */
export function incompleteTail(bytes: Buffer): number {
  for (let back = 1; back <= 3 && back <= bytes.length; back += 1) {
    const byte = bytes[bytes.length - back] ?? 0;
    if ((byte & 0xc0) === 0x80) continue;
    const needed = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return needed > back ? back : 0;
  }
  return 0;
}
