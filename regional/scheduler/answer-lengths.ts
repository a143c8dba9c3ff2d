import {
  expectOutputTokens,
  observeOutputLength,
  unseenOutputLength,
} from "#shared/routing/output-length.ts";
import type { OutputLength } from "#shared/routing/output-length.ts";

/** Tenants, endpoints and models that are remembered; past it the one longest unheard of goes. */
const keysMax = 10_000;

/** Whose answers: lengths differ by tenant, endpoint and model. */
export interface AnswerKind {
  readonly tenant: string;
  readonly path: string;
  readonly model: string;
}

/** How long answers of each kind usually are. */
export interface AnswerLengths {
  /** Tokens to expect and to plan for; `tokensMax` is what the client allows. */
  expect(
    kind: AnswerKind,
    tokensMax: number | null,
  ): { readonly expected: number; readonly p90: number };
  observe(kind: AnswerKind, tokens: number): void;
}

function keyOf({ model, path, tenant }: AnswerKind): string {
  return `${tenant}|${path}|${model}`;
}

/** Those of one cell. */
export function createAnswerLengths(): AnswerLengths {
  const known = new Map<string, OutputLength>();

  return {
    // An embedding has no tokens of its own.
    expect: (kind, tokensMax) =>
      kind.path === "embeddings"
        ? { expected: 1, p90: 1 }
        : expectOutputTokens(known.get(keyOf(kind)) ?? unseenOutputLength, tokensMax),
    observe(kind, tokens) {
      const key = keyOf(kind);
      const next = observeOutputLength(known.get(key) ?? unseenOutputLength, tokens);
      // Deleted first, so that the map's order is that of the last answers.
      known.delete(key);
      known.set(key, next);
      if (known.size <= keysMax) return;
      for (const oldest of known.keys()) {
        known.delete(oldest);
        break;
      }
    },
  };
}
