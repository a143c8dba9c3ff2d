/** Translates a Redis glob (`*`, `?`, `[a-c]`, `[^a]`, backslash escapes) to an anchored expression; redis.io/commands/keys. */
export function expressionOfGlob(glob: string): RegExp {
  let source = "";
  for (let at = 0; at < glob.length; at += 1) {
    const character = glob.charAt(at);
    if (character === "*") {
      // A run of stars means one star; each further one would only multiply the backtracking.
      if (glob.charAt(at + 1) !== "*") source += "[^]*";
    } else if (character === "?") source += "[^]";
    else if (character === "[") {
      const end = glob.indexOf("]", at + 1);
      if (end < 0) return /(?!)/u;
      source += classOf(glob.slice(at + 1, end));
      at = end;
    } else if (character === "\\" && at + 1 < glob.length) {
      at += 1;
      source += escapeLiteral(glob.charAt(at));
    } else source += escapeLiteral(character);
  }
  return new RegExp(`^${source}$`, "u");
}

function escapeLiteral(character: string): string {
  return character.replace(/[\\^$.*+?()[\]{}|/]/u, "\\$&");
}

function classOf(inside: string): string {
  const isNegated = inside.startsWith("^");
  const members = (isNegated ? inside.slice(1) : inside).replaceAll(/[\\\][^]/gu, "\\$&");
  if (members === "") return isNegated ? "[^]" : "(?!)";
  // A range the wrong way round is an error in an expression, but matches both ways in Redis.
  const ordered = members.replaceAll(/([^\\])-([^\\])/gu, (whole, from: string, to: string) =>
    from > to ? `${to}-${from}` : whole,
  );
  return `[${isNegated ? "^" : ""}${ordered}]`;
}
