/**
 * A streaming UTF-8 decoder: the text of a chunk, or null when the bytes so far are not UTF-8. Null as chunk ends the
 * text, which fails inside a character.
 */
export function createStrictDecoder(): (chunk: Uint8Array | null) => string | null {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  return (chunk) => {
    try {
      return chunk === null ? decoder.decode() : decoder.decode(chunk, { stream: true });
    } catch {
      return null;
    }
  };
}
