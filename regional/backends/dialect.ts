import type { BackendDescription } from "#shared/config/topology.ts";

/** Extensions of vLLM that a shard understands. */
export interface EngineExtensions {
  readonly cacheSalt: boolean;
  readonly tokenIds: boolean;
  /** `continue_final_message`: without it an answer cannot be taken up from its text. */
  readonly continuation: boolean;
}

/** An engine about which nothing is known but OpenAI's API; it may refuse fields that it does not know. */
export const noExtensions: EngineExtensions = {
  cacheSalt: false,
  tokenIds: false,
  continuation: false,
};

/** vLLM from 0.10.2 on. */
export const vllmExtensions: EngineExtensions = {
  cacheSalt: true,
  tokenIds: true,
  continuation: true,
};

/** What is known without asking, or null: the simulated engine speaks vLLM's API. */
export function knownExtensions(kind: BackendDescription["kind"]): EngineExtensions | null {
  return kind === "simulated" ? vllmExtensions : null;
}

/**
 * What a server understands, from its model list and its `/version`: only vLLM says `owned_by: "vllm"` and answers
 * `/version` with a version. `cache_salt` came with 0.9.0, `return_token_ids` with 0.10.2, `continue_final_message` with 0.6.4 (vLLM release notes, 2025).
 */
export function readExtensions(models: unknown, version: unknown): EngineExtensions {
  if (!isVllm(models)) return noExtensions;
  const parts = versionOf(version);
  if (parts === null) return noExtensions;
  return {
    cacheSalt: isAtLeast(parts, [0, 9, 0]),
    tokenIds: isAtLeast(parts, [0, 10, 2]),
    continuation: isAtLeast(parts, [0, 6, 4]),
  };
}

function isVllm(models: unknown): boolean {
  if (typeof models !== "object" || models === null || !("data" in models)) return false;
  const { data } = models;
  if (!Array.isArray(data)) return false;
  const first: unknown = data[0];
  return (
    typeof first === "object" && first !== null && "owned_by" in first && first.owned_by === "vllm"
  );
}

function versionOf(version: unknown): readonly number[] | null {
  if (typeof version !== "object" || version === null || !("version" in version)) return null;
  const match = /^(\d{1,4})\.(\d{1,4})\.(\d{1,4})/.exec(String(version.version));
  return match === null ? null : match.slice(1, 4).map(Number);
}

function isAtLeast(version: readonly number[], wanted: readonly number[]): boolean {
  for (const [index, part] of wanted.entries()) {
    const own = version[index] ?? 0;
    if (own !== part) return own > part;
  }
  return true;
}
