/** One step into a document: a key of an object or an index of an array. */
export type PathSegment = string | number;

/** Longest path that is shown, in characters; a nested key may be as long as the body. */
const pathCharactersMax = 256;
const plainKey = /^[A-Za-z0-9_$][A-Za-z0-9_$-]{0,63}$/;

/**
 * The path in OpenAI's form (`messages[0].content`). Keys that are no plain names are shown as `["…"]`: a key is the
 * client's text and an error does not repeat it. The empty path is the empty text.
 */
export function formatPath(path: readonly PropertyKey[]): string {
  let text = "";
  for (const segment of path) {
    if (typeof segment === "number") text += `[${segment}]`;
    else if (typeof segment === "string" && plainKey.test(segment))
      text += text === "" ? segment : `.${segment}`;
    else text += '["…"]';
    if (text.length > pathCharactersMax) return `${text.slice(0, pathCharactersMax)}…`;
  }
  return text;
}

/** The name of a query parameter as an error may show it; one that is no plain name is not repeated. */
export function showName(name: string): string {
  return /^[A-Za-z_$][A-Za-z0-9_$.[\]-]{0,63}$/.test(name) ? name : "…";
}
