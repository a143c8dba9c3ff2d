import { hash64 } from "../routing/hash.ts";

/**
 * The version of the numbers that decisions are made with: 16 hex digits that change whenever one of them does, so that a log
 * line tells by what it was decided. `policies` are plain data.
 */
export function policyVersionOf(policies: readonly unknown[]): string {
  // JSON knows no infinity, which policies use for "never": it is told apart from null.
  const text = JSON.stringify(policies, (_, value: unknown) =>
    typeof value === "number" && !Number.isFinite(value) ? String(value) : value,
  );
  const { high, low } = hash64(text);
  return `${high.toString(16).padStart(8, "0")}${low.toString(16).padStart(8, "0")}`;
}
