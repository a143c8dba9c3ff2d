import { readFileSync } from "node:fs";
import stripJsonComments from "strip-json-comments";
import * as z from "zod";
import { isProfileName, profiles } from "#dev/simulated-engine/model/profiles.ts";
import type { EngineProfile } from "#dev/simulated-engine/model/profiles.ts";
import { shapeProblems } from "#shared/config/topology-problem.ts";
import { describeProblems } from "#shared/config/topology.ts";
import type { ColdStart } from "#shared/scaling/fleet-cold-start.ts";
import { purchaseKinds } from "#shared/scaling/fleet-purchase.ts";
import type { PurchaseKind } from "#shared/scaling/fleet-purchase.ts";
import { UsageError } from "./usage-error.ts";

/** Where demand comes from and is served: prompts never move to another region in the plan. */
export interface FleetRegion {
  readonly name: string;
  /** Share of the whole demand, above 0; all shares sum up to 1. */
  readonly demandShare: number;
  /** Prices there in those of the table. */
  readonly priceFactor: number;
  /** Units that are always warm. */
  readonly replicasMin: number;
}

/** What a provider sells: replicas of one kind of hardware in one way of paying. */
export interface FleetOffer {
  readonly name: string;
  readonly kind: PurchaseKind;
  readonly profile: EngineProfile;
  readonly concurrentRequestsMax: number;
  /** Per replica; every second from the request for it to its end is paid. */
  readonly usdPerHour: number;
  /** Quota of each region. */
  readonly replicasMax: number;
  readonly coldStart: ColdStart;
  /** Spot: mean time until the whole pool is called back, and until it is there again. */
  readonly reclaim: { readonly upHoursMean: number; readonly downHoursMean: number } | null;
  readonly source: string;
  /** Month of the price: YYYY-MM. */
  readonly asOf: string;
}

/** What can be bought, and where. */
export interface ElasticFleet {
  readonly model: string;
  readonly regions: readonly FleetRegion[];
  readonly offers: readonly FleetOffer[];
}

function wanted(text: string): { error: string } {
  return { error: text };
}
const positive = z.number(wanted("a number above 0")).gt(0, wanted("a number above 0"));
const count = z
  .int(wanted("a whole number from 0 to 100000"))
  .min(0, wanted("a whole number from 0 to 100000"))
  .max(100_000, wanted("a whole number from 0 to 100000"));
const name = z
  .string(wanted("a name in kebab-case"))
  .regex(/^[a-z][a-z0-9-]{0,31}$/, wanted("a name in kebab-case"));
const hours = z.strictObject({ upHoursMean: positive, downHoursMean: positive });

const offerSchema = z
  .strictObject({
    name,
    kind: z.enum(purchaseKinds, wanted(`one of ${purchaseKinds.join(", ")}`)),
    profile: z
      .string(wanted("the name of a hardware profile"))
      .refine(isProfileName, wanted(`one of ${Object.keys(profiles).join(", ")}`)),
    concurrentRequestsMax: z
      .int(wanted("a whole number from 1 to 4096"))
      .min(1, wanted("a whole number from 1 to 4096"))
      .max(4_096, wanted("a whole number from 1 to 4096")),
    usdPerHour: positive,
    replicasMax: count,
    coldStart: z.strictObject(
      {
        medianSeconds: positive,
        sigma: z
          .number(wanted("a number from 0 to 2"))
          .min(0, wanted("0 to 2"))
          .max(2, wanted("0 to 2")),
        slowShare: z.number(wanted("a share")).min(0, wanted("0 to 1")).max(1, wanted("0 to 1")),
        slowMedianSeconds: positive,
      },
      wanted("medianSeconds, sigma, slowShare and slowMedianSeconds"),
    ),
    reclaim: hours.optional(),
    source: z.string(wanted("where the price is from")).min(1, wanted("where the price is from")),
    asOf: z
      .string(wanted("the month of the price, YYYY-MM"))
      .regex(/^\d{4}-(0[1-9]|1[0-2])$/, wanted("the month of the price, YYYY-MM")),
  })
  .refine(({ kind, reclaim }) => (kind === "spot") === (reclaim !== undefined), {
    path: ["reclaim"],
    error: "upHoursMean and downHoursMean with kind spot, and nothing with others",
  });

const schema = z
  .strictObject({
    model: z.string(wanted("the model's name")).min(1, wanted("the model's name")),
    regions: z
      .array(
        z.strictObject({
          name,
          demandShare: positive,
          priceFactor: positive,
          replicasMin: count,
        }),
        wanted("a list of regions"),
      )
      .min(1, wanted("one region at least")),
    offers: z.array(offerSchema, wanted("a list of offers")).min(1, wanted("one offer at least")),
  })
  .refine(
    ({ regions }) => Math.abs(regions.reduce((sum, one) => sum + one.demandShare, 0) - 1) < 1e-6,
    {
      path: ["regions"],
      error: "demandShare that sum up to 1",
    },
  )
  .refine(({ offers }) => new Set(offers.map((one) => one.name)).size === offers.length, {
    path: ["offers"],
    error: "names that differ",
  })
  .refine(({ offers }) => offers.some(({ kind }) => kind !== "spot"), {
    path: ["offers"],
    error: "one offer at least that is not spot",
  });

/** Reads a fleet that can grow: JSON with comments. @throws UsageError with every problem as path, got, wanted. */
export function readElasticFleet(path: string): ElasticFleet {
  let value: unknown;
  try {
    value = JSON.parse(stripJsonComments(readFileSync(path, "utf8"), { trailingCommas: true }));
  } catch (error) {
    throw new UsageError(
      `--fleet ${path}: ${error instanceof Error ? error.message : "unreadable"}`,
    );
  }
  const result = schema.safeParse(value);
  if (!result.success) {
    const problems = shapeProblems(result.error, value).map((problem) =>
      problem.got === "an unknown key"
        ? { ...problem, wanted: "only the keys named in docs/capacity.md" }
        : problem,
    );
    throw new UsageError(`--fleet ${path}:\n${describeProblems(problems)}`);
  }
  const { model, offers, regions } = result.data;
  return {
    model,
    regions,
    offers: offers.map(({ profile, reclaim, ...offer }) => ({
      ...offer,
      profile: isProfileName(profile) ? profiles[profile] : profiles["cpu-test"],
      reclaim: reclaim ?? null,
    })),
  };
}
