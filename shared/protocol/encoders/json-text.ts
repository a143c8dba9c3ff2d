/**
 * JSON for a stream: `JSON.stringify` escapes every control character below U+0020 and lone surrogates; U+0085 and
 * U+2028/2029 are escaped too, because readers that split text into lines (Python's `splitlines`) take them for borders.
 */
export function jsonText(value: unknown): string {
  const text = JSON.stringify(value) ?? "null";
  return text.includes("\u0085") || text.includes("\u2028") || text.includes("\u2029")
    ? text
        .replaceAll("\u0085", "\\u0085")
        .replaceAll("\u2028", "\\u2028")
        .replaceAll("\u2029", "\\u2029")
    : text;
}
