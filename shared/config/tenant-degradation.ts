import * as z from "zod";
import { showValue } from "./topology-problem.ts";
import type { TopologyProblem } from "./topology-problem.ts";
import type { TopologyFile } from "./topology.ts";

/** `tenants.X.degradation`: what a cell may do to a tenant's prompts at a degradation level (docs/degradation.md). */
export const tenantDegradationSchema = z.strictObject({
  /** For a model the smaller one that may answer in its place. */
  smallerModels: z.record(z.string(), z.string().min(1).max(128)).optional(),
  /** Whether the oldest of a long history may be left out, also where the request does not say so. */
  historyCut: z.boolean().optional(),
});

/** What a tenant allows. */
export interface TenantDegradation {
  readonly smallerModels: ReadonlyMap<string, string>;
  readonly historyCut: boolean;
}

/** The permissions of a tenant of the file: none unless they are written out. */
export function describeDegradation(
  given: z.infer<typeof tenantDegradationSchema> | undefined,
): TenantDegradation {
  return {
    smallerModels: new Map(Object.entries(given?.smallerModels ?? {})),
    historyCut: given?.historyCut ?? false,
  };
}

/** Smaller models that do not exist, are the model itself, or lack what the larger one can. */
export function degradationProblems(file: TopologyFile): TopologyProblem[] {
  const problems: TopologyProblem[] = [];
  for (const [id, tenant] of Object.entries(file.tenants)) {
    const pairs = Object.entries(tenant.degradation?.smallerModels ?? {});
    for (const [model, smaller] of pairs) {
      const path = `tenants.${id}.degradation.smallerModels.${model}`;
      const complain = (got: string, wanted: string): void =>
        void problems.push({ path, got: showValue(got), wanted });
      const large = Object.hasOwn(file.models, model) ? file.models[model] : undefined;
      const small = Object.hasOwn(file.models, smaller) ? file.models[smaller] : undefined;
      if (large === undefined) complain(model, "a model of this file");
      else if (small === undefined) complain(smaller, "a model of this file");
      else if (smaller === model) complain(smaller, "another model");
      else {
        const missing = large.capabilities.find((one) => !small.capabilities.includes(one));
        if (missing !== undefined) complain(smaller, `a model with the capability ${missing}`);
      }
    }
  }
  return problems;
}
