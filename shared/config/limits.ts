import * as z from "zod";

const count = z.int().min(1).max(1_000_000_000);
/** A budget is an integer that RateLimit headers can carry: 15 digits (RFC 9651, section 3.3.1). */
const budgetMicroUsd = z.int().min(1).max(999_999_999_999_999);

/**
 * Limits of a tenant, or of one of its keys; what is absent is not limited. Both hold at once. `requestsPerMinute` and
 * `tokensPerMinute` are the most in any 60 s; `requestsPerSecond` with `requestsBurstMax` admit at most
 * burst + rate × W in any W seconds. Budgets are micro-dollars of a UTC day and month.
 */
export const limitsSchema = z
  .strictObject({
    requestsPerMinute: count.optional(),
    requestsPerSecond: z.int().min(1).max(1_000_000).optional(),
    requestsBurstMax: z.int().min(1).max(1_000_000).optional(),
    tokensPerMinute: count.optional(),
    concurrentRequestsMax: count.optional(),
    budgetMicroUsdPerDay: budgetMicroUsd.optional(),
    budgetMicroUsdPerMonth: budgetMicroUsd.optional(),
  })
  .refine(
    ({ requestsPerSecond, requestsBurstMax }) =>
      requestsBurstMax === undefined || requestsPerSecond !== undefined,
    {
      path: ["requestsBurstMax"],
      error: "requestsPerSecond beside it: the rate that gives it back",
    },
  );

/** Limits of a tenant or of a key; docs of {@link limitsSchema}. */
export type Limits = z.infer<typeof limitsSchema>;

/**
 * What holds for each key whose request rate neither the key nor its tenant limits: a starting policy, wide enough for a
 * busy backend and narrow enough that one runaway client is held to 1,000 requests and then 100 a second.
 */
export const defaultKeyRate = { requestsPerSecond: 100, requestsBurstMax: 1_000 } as const;

/** The id of the key whose digests stand in the list as plain texts. */
export const plainKeyId = "default";

const keyDigest = z
  .string()
  .regex(
    /^(?:sha256:[0-9a-f]{64}|env:[A-Z][A-Z0-9_]{0,63})$/,
    "sha256: and 64 lower-case hex digits, or env:NAME of an environment variable",
  );

/** Digests of one key: the current one, and one that is being rotated in. */
export const keyDigests = z
  .array(keyDigest)
  .max(2, "at most two: the current key and the one being rotated in");

const namedKey = z.strictObject({
  id: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,31}$/, "lower-case letters, digits and dashes, at most 32"),
  digests: keyDigests.min(1),
  limits: limitsSchema.optional(),
});

/** Keys with a name of their own that one tenant can have. */
const namedKeysMax = 16;

/** A digest or a key with a name. Not a union: its complaints would not say what is wrong where. */
const keyEntry = z
  .unknown()
  .transform((value, context): z.infer<typeof keyDigest> | z.infer<typeof namedKey> => {
    const read = typeof value === "string" ? keyDigest.safeParse(value) : namedKey.safeParse(value);
    if (read.success) return read.data;
    for (const issue of read.error.issues) {
      // The issue as it was found: only its input is not among what zod shows of it.
      context.issues.push({ ...issue, input: value, continue: true } as z.core.$ZodRawIssue);
    }
    return z.NEVER;
  });

/** A tenant's keys: up to two digests of one key without a name, and keys with names and limits of their own. */
export const tenantKeys = z.array(keyEntry).superRefine((entries, context) => {
  const plain = entries.filter((entry) => typeof entry === "string");
  const ids = entries.flatMap((entry) => (typeof entry === "string" ? [] : [entry.id]));
  const complain = (message: string): void => context.addIssue({ code: "custom", message });
  if (plain.length > 2) complain("at most two: the current key and the one being rotated in");
  if (ids.length > namedKeysMax) complain(`at most ${namedKeysMax} keys with an id`);
  if (new Set(ids).size < ids.length) complain("ids that differ");
  if (ids.includes(plainKeyId)) complain(`an id other than '${plainKeyId}'`);
});

/** One key of a tenant, as its requests are counted: both digests of a rotation are one key. */
export interface TenantKey {
  readonly id: string;
  /** `sha256:<hex>` or `env:NAME`, at most two. */
  readonly digests: readonly string[];
  readonly limits: Limits;
}

function withDefaultRate(limits: Limits, tenant: Limits): Limits {
  const hasRate = [limits, tenant].some(
    ({ requestsPerMinute, requestsPerSecond }) =>
      requestsPerMinute !== undefined || requestsPerSecond !== undefined,
  );
  return hasRate ? limits : { ...limits, ...defaultKeyRate };
}

/** The keys of a tenant with the limits that hold for them, and first always the one without a name. */
export function describeKeys(
  entries: z.infer<typeof tenantKeys>,
  tenant: Limits,
): readonly [TenantKey, ...TenantKey[]] {
  const plain = entries.filter((entry) => typeof entry === "string");
  const named = entries.filter((entry) => typeof entry !== "string");
  return [
    { id: plainKeyId, digests: plain, limits: withDefaultRate({}, tenant) },
    ...named.map(({ id, digests, limits = {} }) => ({
      id,
      digests,
      limits: withDefaultRate(limits, tenant),
    })),
  ];
}
