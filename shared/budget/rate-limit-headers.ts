import type { LimitName, LimitState } from "./rpc.ts";

/** The largest integer of a structured field (RFC 9651, section 3.3.1). */
const integerMax = 999_999_999_999_999;
/** Names of the quota units; "requests" and "concurrent-requests" are the draft's, the others are this API's own. */
const units: Readonly<Record<LimitName, string>> = {
  requests: "requests",
  tokens: "tokens",
  burst: "requests",
  concurrent: "concurrent-requests",
  "budget-day": "micro-usd",
  "budget-month": "micro-usd",
};

const integer = (value: number): number => Math.min(integerMax, Math.max(0, value));
const seconds = (ms: number): number => Math.ceil(Math.max(0, ms) / 1000);

/** A policy's name: a tenant's as it is, a key's with a prefix, since names are unique in the field. */
function policyName({ scope, name }: LimitState): string {
  return scope === "key" ? `key-${name}` : name;
}

/** A time as OpenAI writes it (`6m0s`, `1s`, `20ms`): SDKs and dashboards parse that form. */
function duration(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.ceil(ms))}ms`;
  const whole = seconds(ms);
  return whole < 60 ? `${whole}s` : `${Math.floor(whole / 60)}m${whole % 60}s`;
}

/** The state that refuses first, of those of one unit. */
function tightest(states: readonly LimitState[], names: readonly LimitName[]): LimitState | null {
  const own = states.filter(({ name }) => names.includes(name));
  return own.reduce<LimitState | null>(
    (least, state) => (least === null || state.remaining < least.remaining ? state : least),
    null,
  );
}

/**
 * `RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers-10 with every limit of tenant and key, and
 * OpenAI's `x-ratelimit-*` with the tightest limit of requests and of tokens. Empty without limits.
 */
export function rateLimitHeaders(states: readonly LimitState[]): Record<string, string> {
  if (states.length === 0) return {};
  const headers: Record<string, string> = {
    "ratelimit-policy": states
      .map((state) => {
        const window = state.windowMs === null ? "" : `;w=${seconds(state.windowMs)}`;
        return `"${policyName(state)}";q=${integer(state.quota)};qu="${units[state.name]}"${window}`;
      })
      .join(", "),
    ratelimit: states
      .map((state) => {
        const reset = state.resetMs === null ? "" : `;t=${integer(seconds(state.resetMs))}`;
        return `"${policyName(state)}";r=${integer(state.remaining)}${reset}`;
      })
      .join(", "),
  };
  for (const [unit, names] of [
    ["requests", ["requests", "burst"]],
    ["tokens", ["tokens"]],
  ] as const) {
    const state = tightest(states, names);
    if (state === null) continue;
    headers[`x-ratelimit-limit-${unit}`] = String(state.quota);
    headers[`x-ratelimit-remaining-${unit}`] = String(state.remaining);
    headers[`x-ratelimit-reset-${unit}`] = duration(state.resetMs ?? 0);
  }
  return headers;
}
