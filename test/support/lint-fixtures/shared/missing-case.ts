// refused by: switch-exhaustiveness-check
type Kind = "a" | "b";
export function nameOf(kind: Kind): string {
  switch (kind) {
    case "a":
      return "first";
  }
  return "";
}
