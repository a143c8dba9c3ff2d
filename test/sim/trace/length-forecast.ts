/** Expected output length per tenant: EWMA of log-length, so that a few long answers do not count for all. */
export interface LengthForecast {
  /** Tokens, ≥ 1. */
  expected(tenant: number): number;
  observe(tenant: number, outputTokens: number): void;
}

/** A tenant nobody knows: the median of Azure's and Kimi's chats lies between 129 and 350. */
const unknownTokens = 200;
/** Weight of one more answer. */
const gain = 0.05;

/** Makes a forecast without knowledge. */
export function createLengthForecast(): LengthForecast {
  const logs = new Map<number, number>();
  return {
    expected: (tenant) => Math.max(1, Math.exp(logs.get(tenant) ?? Math.log(unknownTokens))),
    observe(tenant, outputTokens) {
      const log = Math.log(Math.max(1, outputTokens));
      const known = logs.get(tenant) ?? Math.log(unknownTokens);
      logs.set(tenant, known + gain * (log - known));
    },
  };
}
