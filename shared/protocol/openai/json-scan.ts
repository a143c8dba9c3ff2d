import type { PathSegment } from "./parameter-path.ts";

/** Depth of nesting that is read; conventions: caps before parsing (reliability.md 9.4, Body). */
export const jsonDepthMax = 64;
/** Keys of all objects of a body together (reliability.md 9.4, Body). */
export const jsonKeysMax = 10_000;

/** What is wrong with a body as JSON. */
export type JsonFault =
  | "malformed"
  | "truncated"
  | "tooDeep"
  | "tooManyKeys"
  | "duplicateKey"
  | "forbiddenKey"
  | "nul"
  | "loneSurrogate"
  | "numberTooLarge";

/** The first fault of a text, where it stands (UTF-16 offset) and in which value. */
export interface JsonProblem {
  readonly fault: JsonFault;
  readonly offset: number;
  readonly path: readonly PathSegment[];
}

/** One open array or object. `keys` is null for an array, `key` while the next key is not read. */
interface Frame {
  readonly keys: Set<string> | null;
  key: string | null;
  index: number;
}

/** Characters of a string that need no look at: one sticky class, so it never backtracks; 1.7 times a loop's speed. */
const plainRun = /[ !#-[\]-\ud7ff\ue000-\uffff]*/y;
const quote = 0x22;
const backslash = 0x5c;

/**
 * Reads JSON once, in linear time and with a bounded stack, and builds nothing: what it passes, `JSON.parse` parses.
 * It refuses what a parser would let through: duplicate keys (two readers may disagree on the winner), `__proto__` and
 * `constructor.prototype` keys, NUL, lone surrogates, numbers beyond a double, and documents too deep or too wide.
 */
class Scanner {
  readonly #text: string;
  readonly #frames: Frame[] = [];
  #at = 0;
  #keys = 0;
  #problem: JsonProblem | null = null;

  constructor(text: string) {
    this.#text = text;
  }

  scan(): JsonProblem | null {
    let isValueNext = true;
    while (this.#problem === null) {
      this.#skipSpace();
      if (isValueNext) {
        isValueNext = this.#value();
        continue;
      }
      const frame = this.#frames.at(-1);
      if (frame === undefined) {
        return this.#at === this.#text.length ? null : this.#fail("malformed");
      }
      isValueNext = this.#separator(frame);
    }
    return this.#problem;
  }

  /** Reads a scalar, or opens an array or object. True when a value must follow. */
  #value(): boolean {
    const code = this.#text.charCodeAt(this.#at);
    if (code === quote) {
      this.#string();
      return false;
    }
    if (code === 0x7b) return this.#open(new Set());
    if (code === 0x5b) return this.#open(null);
    if (code === 0x2d || (code >= 0x30 && code <= 0x39)) this.#number();
    else this.#word();
    return false;
  }

  #open(keys: Set<string> | null): boolean {
    if (this.#frames.length >= jsonDepthMax) {
      this.#fail("tooDeep");
      return false;
    }
    this.#at += 1;
    this.#skipSpace();
    if (this.#text.charCodeAt(this.#at) === (keys === null ? 0x5d : 0x7d)) {
      this.#at += 1;
      return false;
    }
    const frame: Frame = { keys, key: null, index: 0 };
    this.#frames.push(frame);
    if (keys !== null) this.#readKey(frame, keys);
    return true;
  }

  /** After a value: a comma and what follows it, or the end of the array or object. */
  #separator(frame: Frame): boolean {
    const code = this.#text.charCodeAt(this.#at);
    if (code === (frame.keys === null ? 0x5d : 0x7d)) {
      this.#at += 1;
      this.#frames.pop();
      return false;
    }
    if (code !== 0x2c) {
      this.#fail("malformed");
      return false;
    }
    this.#at += 1;
    if (frame.keys === null) {
      frame.index += 1;
    } else {
      this.#skipSpace();
      this.#readKey(frame, frame.keys);
    }
    return true;
  }

  #readKey(frame: Frame, keys: Set<string>): void {
    frame.key = null;
    const start = this.#at;
    if (this.#text.charCodeAt(start) !== quote) {
      this.#fail("malformed");
      return;
    }
    this.#keys += 1;
    if (this.#keys > jsonKeysMax) {
      this.#fail("tooManyKeys");
      return;
    }
    const hasEscape = this.#string();
    if (this.#problem !== null) return;
    const key: unknown = hasEscape
      ? JSON.parse(this.#text.slice(start, this.#at))
      : this.#text.slice(start + 1, this.#at - 1);
    frame.key = String(key);
    const parent = this.#frames.at(-2);
    if (frame.key === "__proto__" || (frame.key === "prototype" && parent?.key === "constructor")) {
      this.#fail("forbiddenKey", start);
      return;
    }
    if (keys.has(frame.key)) {
      this.#fail("duplicateKey", start);
      return;
    }
    keys.add(frame.key);
    this.#skipSpace();
    if (this.#text.charCodeAt(this.#at) === 0x3a) this.#at += 1;
    else this.#fail("malformed");
  }

  /** Reads a string; true when it held an escape. A high surrogate must be followed by a low one, escaped or not. */
  #string(): boolean {
    const text = this.#text;
    let at = this.#at + 1;
    let hasEscape = false;
    let isHighPending = false;
    for (;;) {
      plainRun.lastIndex = at;
      plainRun.test(text);
      const start = plainRun.lastIndex;
      if (start > at && isHighPending) break;
      at = start;
      let unit = text.charCodeAt(at);
      if (unit === quote || Number.isNaN(unit)) break;
      if (unit < 0x20) {
        this.#fail(unit === 0 ? "nul" : "malformed", at);
        return hasEscape;
      }
      at += 1;
      if (unit === backslash) {
        hasEscape = true;
        const escape = text.charCodeAt(at);
        at += 1;
        if (escape === 0x75) {
          unit = hexadecimal(text, at);
          at += 4;
        } else if (!isSimpleEscape(escape)) {
          unit = -1;
        }
        if (unit <= 0) {
          this.#fail(unit === 0 ? "nul" : "malformed", start);
          return hasEscape;
        }
      }
      const isLow = unit >= 0xdc00 && unit <= 0xdfff;
      if (isLow !== isHighPending) {
        this.#fail("loneSurrogate", start);
        return hasEscape;
      }
      isHighPending = unit >= 0xd800 && unit <= 0xdbff;
    }
    if (isHighPending) this.#fail("loneSurrogate", at);
    else if (at >= text.length) this.#fail("truncated", at);
    this.#at = at + 1;
    return hasEscape;
  }

  #number(): void {
    const start = this.#at;
    if (this.#text.charCodeAt(this.#at) === 0x2d) this.#at += 1;
    if (this.#text.charCodeAt(this.#at) === 0x30) this.#at += 1;
    else this.#digits();
    if (this.#text.charCodeAt(this.#at) === 0x2e) {
      this.#at += 1;
      this.#digits();
    }
    const exponent = this.#text.charCodeAt(this.#at);
    if (exponent === 0x65 || exponent === 0x45) {
      this.#at += 1;
      const sign = this.#text.charCodeAt(this.#at);
      if (sign === 0x2b || sign === 0x2d) this.#at += 1;
      this.#digits();
    }
    if (this.#problem !== null) return;
    if (!Number.isFinite(Number(this.#text.slice(start, this.#at)))) {
      this.#fail("numberTooLarge", start);
    }
  }

  #digits(): void {
    const start = this.#at;
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (!(code >= 0x30 && code <= 0x39)) break;
      this.#at += 1;
    }
    if (this.#at === start) this.#fail("malformed");
  }

  #word(): void {
    for (const word of ["true", "false", "null"]) {
      if (this.#text.startsWith(word, this.#at)) {
        this.#at += word.length;
        return;
      }
    }
    this.#fail(this.#text.charCodeAt(this.#at) === 0 ? "nul" : "malformed");
  }

  #skipSpace(): void {
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      this.#at += 1;
    }
  }

  /** Keeps the first problem; a malformed end of the text is a truncated one. */
  #fail(fault: JsonFault, offset = this.#at): JsonProblem {
    this.#problem ??= {
      fault: fault === "malformed" && offset >= this.#text.length ? "truncated" : fault,
      offset: Math.min(offset, this.#text.length),
      path: this.#frames.flatMap(({ keys, key, index }): PathSegment[] => {
        if (keys === null) return [index];
        return key === null ? [] : [key];
      }),
    };
    return this.#problem;
  }
}

function isSimpleEscape(code: number): boolean {
  return '"\\/bfnrt'.includes(String.fromCharCode(code));
}

/** Four hexadecimal digits at `at`, or -1. */
function hexadecimal(text: string, at: number): number {
  const digits = text.slice(at, at + 4);
  return /^[0-9a-fA-F]{4}$/.test(digits) ? Number.parseInt(digits, 16) : -1;
}

/** The first fault of `text` as a JSON document, or null. Linear in its length; never throws. */
export function scanJson(text: string): JsonProblem | null {
  return new Scanner(text).scan();
}
