/**
 * JSON for a stream: `JSON.stringify` escapes every CR, LF and NUL, and U+2028/2029 are escaped too, so that no reader
 * takes content for a line border.
 */
export function jsonText(value: unknown): string {
  const text = JSON.stringify(value) ?? "null";
  return text.includes("\u2028") || text.includes("\u2029")
    ? text.replaceAll("\u2028", "\\u2028").replaceAll("\u2029", "\\u2029")
    : text;
}
