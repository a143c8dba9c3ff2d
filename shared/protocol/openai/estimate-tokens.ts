/** Tokens that an image counts for: one of 1,024 × 1,024 in high detail (OpenAI's vision guide: 85 + 4 × 170). */
export const imageTokens = 765;

/** Tokens that chat templates put around a message: role, two marks and a line (Llama 3 and ChatML: 5). */
export const messageTokens = 5;

const letter = 0;
const capital = 1;
const accented = 2;
const digit = 3;
const space = 4;
const line = 5;
const mark = 6;
const other = 7;

/** What a text is made of, by UTF-16 unit: the classes of ASCII, and from where a script begins with its tokens per unit. */
const asciiClass = Uint8Array.from({ length: 128 }, (_, code) => {
  if (code >= 0x61 && code <= 0x7a) return letter;
  if (code >= 0x41 && code <= 0x5a) return capital;
  if (code >= 0x30 && code <= 0x39) return digit;
  if (code === 0x20 || code === 0x09) return space;
  return code === 0x0a || code === 0x0d ? line : mark;
});

/** First unit of a range of scripts, and thousandths of a token per unit in it; fitted (docs/decisions/0011). */
const scripts: readonly (readonly [from: number, milliTokens: number])[] = [
  [0x250, 1_500], // phonetic letters, combining marks
  [0x370, 800], // Greek
  [0x400, 480], // Cyrillic
  [0x530, 1_600], // Armenian
  [0x590, 850], // Hebrew
  [0x600, 780], // Arabic
  [0x700, 1_500],
  [0x900, 1_450], // scripts of India
  [0xe00, 720], // Thai
  [0xe80, 1_600], // Lao, Tibetan, Burmese, Georgian, Ethiopic, Khmer
  [0x2000, 600], // punctuation, arrows, mathematics, CJK punctuation
  [0x3040, 800], // kana
  [0x3100, 1_100], // Han
  [0xac00, 1_000], // Hangul
  [0xd7b0, 2_200], // surrogates: half an emoji each
  [0xe000, 1_600],
  [0xf900, 950], // Han and forms of Arabic and Latin
];

/** Tokens per unit by the unit's upper byte. Ranges begin at multiples of 16; finer than 256 matters for a few only. */
const scriptOf = Uint16Array.from({ length: 0x1000 }, (_, upper) => {
  let milliTokens = 0;
  for (const [from, weight] of scripts) if (upper << 4 >= (from & ~0xf)) milliTokens = weight;
  return milliTokens;
});

/** Letters of a word that one token mostly holds, and from where on each costs as in names, hashes and compounds. */
const wordLettersFree = 4;
const wordLettersMax = 9;
/** Thousandths of a token for a letter beyond them; fitted (docs/decisions/0011). */
const letterMilli = 90;
const longLetterMilli = 350;

/**
 * Thousandths of a token that a unit costs after another, by both their classes; fitted (docs/decisions/0011). A word, a
 * run of marks, a number begin with a token; a space before a word is part of it; an indentation costs one more.
 */
const stepMilli = (() => {
  const steps = new Uint16Array(64);
  const begin = [1_000, 1_000, 2_000, 1_000, 0, 250, 850, 0];
  for (let previous = letter; previous <= other; previous += 1) {
    for (let next = letter; next <= other; next += 1) {
      steps[(previous << 3) | next] = begin[next] ?? 0;
    }
    const isWord = previous <= accented;
    steps[(previous << 3) | accented] = isWord ? 1_150 : 2_100;
    if (isWord) steps[(previous << 3) | letter] = 0;
  }
  steps[(capital << 3) | capital] = 550;
  steps[(digit << 3) | digit] = 600;
  steps[(mark << 3) | mark] = 150;
  steps[(line << 3) | line] = 0;
  steps[(line << 3) | space] = 350;
  return steps;
})();

/** Units that are looked at: of a longer text as many, in pieces from all over it, which bounds the time to about 0.2 ms. */
const lookedAtMax = 16_384;
const pieceLength = 1_024;

function milliTokensOf(text: string, from: number, to: number): number {
  let milliTokens = 0;
  let previous = other;
  let letters = 0;
  for (let index = from; index < to; index += 1) {
    const code = text.charCodeAt(index);
    let kind = other;
    if (code < 0x80) kind = asciiClass[code] ?? other;
    else if (code < 0x250 || code >> 8 === 0x1e) kind = accented;
    else milliTokens += scriptOf[code >> 4] ?? 0;
    milliTokens += stepMilli[(previous << 3) | kind] ?? 0;
    if (kind <= accented) {
      letters = previous <= accented && kind !== capital ? letters + 1 : 1;
      if (letters > wordLettersFree) {
        milliTokens += letters > wordLettersMax ? longLetterMilli : letterMilli;
      }
    }
    previous = kind;
  }
  return milliTokens;
}

/**
 * Tokens of `text`, estimated in one pass without a vocabulary: words by their length, digits, marks and lines by their runs,
 * other scripts by the unit. Which text is how far off is measured in docs/decisions/0011. For admission, truncation and
 * choice, never for a bill.
 */
export function estimateTokens(text: string): number {
  const { length } = text;
  if (length <= lookedAtMax) return Math.ceil(milliTokensOf(text, 0, length) / 1_000);
  const pieces = lookedAtMax / pieceLength;
  const stride = (length - pieceLength) / (pieces - 1);
  let milliTokens = 0;
  for (let piece = 0; piece < pieces; piece += 1) {
    const from = Math.floor(piece * stride);
    milliTokens += milliTokensOf(text, from, from + pieceLength);
  }
  return Math.ceil((milliTokens * (length / lookedAtMax)) / 1_000);
}
