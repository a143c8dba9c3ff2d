/**
 * The token vocabulary. No token's bytes are a prefix of another's, so longest match finds exactly the tokens
 * that a text was made of, and a text can be continued at any token border. A test holds this law.
 */

/** Opening of every text answer, one token each, so that it never passes for a real model's. */
const openingTokens = ["Simulated", " text", ":"] as const;

/** Ends every text answer that is not cut. */
const closingToken = ".";

const words =
  `amber anvil apron arrow aspen attic bacon badge basil beach berry birch blaze bloom board brook brush cabin camel
  candy canoe cedar chalk charm chess cliff clock cloud cobra coral crane creek crown daisy delta diner drift eagle
  earth ember fable fence ferry field flame fleet flint flora forge frost ginger glade glass globe grain grape grove
  guild harbor hazel heron honey house ivory jelly jewel koala lemon level lilac linen lodge lotus lunar maple marsh
  meadow melon metal mirth mocha moose mural night noble north ocean olive onion opera orbit otter paint panda paper
  pearl pedal phone piano pilot plaza plume polar pond-lily prism quail quartz quiet radar raven ridge river robin
  royal sable salad satin scarf shade shell shore silk-road slate smoke solar spark spice stone storm sugar swift table
  thyme tiger torch tower trail tulip umber valley velvet vinyl viola wagon water whale wheat willow winter zebra`
    .split(/\s+/u)
    .map((word) => ` ${word}`);

/** More than one byte per character: accents, Cyrillic, Greek, CJK. */
const multiByteWords = [
  " café",
  " naïve",
  " Zürich",
  " søvn",
  " слово",
  " λόγος",
  "東京",
  "模擬",
  "서울",
  "ですね",
];

const punctuation = [",", ";", "\n\n"];

/** Emoji are two tokens of two bytes, as in byte-level BPE: a border inside a character. First halves are alike. */
const emoji = ["😀", "🚀", "🌊", "🧭"].map((character) => Buffer.from(character, "utf8"));

const entries: readonly Buffer[] = [
  ...[...openingTokens, closingToken, ...words, ...multiByteWords, ...punctuation].map((text) =>
    Buffer.from(text, "utf8"),
  ),
  Buffer.from([0xf0, 0x9f]),
  ...emoji.map((bytes) => bytes.subarray(2)),
];

/** Bytes of each token of the vocabulary, by index. */
export const vocabulary: readonly Buffer[] = entries;

function indexOf(bytes: Buffer): number {
  return entries.findIndex((entry) => entry.equals(bytes));
}
function indicesOf(texts: readonly string[]): readonly number[] {
  return texts.map((text) => indexOf(Buffer.from(text, "utf8")));
}

/** Indices by role; the answer's generator draws from them. */
export const vocabularyIndices = {
  opening: indicesOf(openingTokens),
  closing: indexOf(Buffer.from(closingToken, "utf8")),
  words: indicesOf(words),
  multiByteWords: indicesOf(multiByteWords),
  punctuation: indicesOf(punctuation),
  emojiFirstHalf: indexOf(Buffer.from([0xf0, 0x9f])),
  emojiSecondHalves: emoji.map((bytes) => indexOf(bytes.subarray(2))),
} as const;
