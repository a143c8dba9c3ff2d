import type { Limits } from "./limits.ts";
import { showValue } from "./topology-problem.ts";
import type { TopologyProblem } from "./topology-problem.ts";
import { providerRegionProblems } from "./provider-regions.ts";
import { degradationProblems } from "./tenant-degradation.ts";
import { scalingProblems } from "./scaling.ts";
import { streamsKeptProblems } from "./streams-kept.ts";
import type { TopologyFile } from "./topology.ts";

/** No jurisdiction may have it: `mk_admin_…` is how keys of administrators begin (shared/residency/api-key.ts). */
export const adminName = "admin";

function hasBudget(limits: Limits | undefined): boolean {
  return limits?.budgetMicroUsdPerDay !== undefined || limits?.budgetMicroUsdPerMonth !== undefined;
}

/** Models without a price that a tenant with a budget could ask for: its budget would be charged nothing. */
function unpricedModels(file: TopologyFile): string[] {
  const regions = new Set(
    Object.values(file.tenants)
      .filter(({ limits, keys }) =>
        [limits, ...keys.map((key) => (typeof key === "string" ? undefined : key.limits))].some(
          hasBudget,
        ),
      )
      .flatMap(({ jurisdiction }) =>
        Object.hasOwn(file.jurisdictions, jurisdiction)
          ? (file.jurisdictions[jurisdiction]?.regions ?? [])
          : [],
      ),
  );
  const served = new Set(
    Object.values(file.shards)
      .filter(({ cell }) => regions.has(file.cells[cell]?.region ?? ""))
      .map(({ model }) => model),
  );
  return Object.entries(file.models)
    .filter(([id, model]) => served.has(id) && model.priceMicroUsdPerMillionTokens === undefined)
    .map(([id]) => id);
}

/** Cross-references: everything that is named exists once, and belongs to exactly one jurisdiction. */
export function referenceProblems(file: TopologyFile): TopologyProblem[] {
  const problems: TopologyProblem[] = [];
  const complain = (path: string, got: string, wanted: string): void => {
    problems.push({ path, got: showValue(got), wanted });
  };
  const ownerOfRegion = new Map<string, string>();
  const ownerOfHostname = new Map<string, string>();
  for (const [id, jurisdiction] of Object.entries(file.jurisdictions)) {
    if (id === adminName)
      complain(
        `jurisdictions.${id}`,
        id,
        "another name: administrators' keys begin with mk_admin_",
      );
    jurisdiction.regions.forEach((region, index) => {
      const path = `jurisdictions.${id}.regions.${index}`;
      if (!Object.hasOwn(file.regions, region)) complain(path, region, "a region of this file");
      const owner = ownerOfRegion.get(region);
      if (owner !== undefined)
        complain(path, region, `a region that ${owner} does not have already`);
      ownerOfRegion.set(region, id);
    });
    jurisdiction.hostnames.forEach((hostname, index) => {
      const owner = ownerOfHostname.get(hostname);
      const path = `jurisdictions.${id}.hostnames.${index}`;
      if (owner !== undefined)
        complain(path, hostname, `a hostname that ${owner} does not have already`);
      ownerOfHostname.set(hostname, id);
    });
  }
  for (const region of Object.keys(file.regions)) {
    if (!ownerOfRegion.has(region))
      complain(`regions.${region}`, region, "a region that a jurisdiction lists");
  }
  for (const [id, cell] of Object.entries(file.cells)) {
    if (!Object.hasOwn(file.regions, cell.region))
      complain(`cells.${id}.region`, cell.region, "a region of this file");
  }
  for (const [id, shard] of Object.entries(file.shards)) {
    if (!Object.hasOwn(file.cells, shard.cell))
      complain(`shards.${id}.cell`, shard.cell, "a cell of this file");
    if (!id.startsWith(`${shard.cell}/`))
      complain(`shards.${id}`, id, `an id that begins with ${shard.cell}/`);
    if (!Object.hasOwn(file.models, shard.model))
      complain(`shards.${id}.model`, shard.model, "a model of this file");
  }
  for (const [id, tenant] of Object.entries(file.tenants)) {
    if (!Object.hasOwn(file.jurisdictions, tenant.jurisdiction)) {
      complain(`tenants.${id}.jurisdiction`, tenant.jurisdiction, "a jurisdiction of this file");
    }
  }
  const ownerOfIssuer = new Map<string, string>();
  for (const [id, { issuer }] of Object.entries(file.identityProviders ?? {})) {
    const owner = ownerOfIssuer.get(issuer);
    if (owner !== undefined)
      complain(
        `identityProviders.${id}.issuer`,
        issuer,
        `an issuer that ${owner} does not have already`,
      );
    ownerOfIssuer.set(issuer, id);
  }
  problems.push(
    ...streamsKeptProblems(file),
    ...providerRegionProblems(file),
    ...degradationProblems(file),
    ...scalingProblems(file),
  );
  for (const model of unpricedModels(file)) {
    problems.push({
      path: `models.${model}.priceMicroUsdPerMillionTokens`,
      got: "nothing",
      wanted: "a price, since a tenant has a budget",
    });
  }
  for (const [kind, ids] of [
    ["jurisdictions", Object.keys(file.jurisdictions)],
    ["cells", Object.keys(file.cells)],
    ["models", Object.keys(file.models)],
  ] as const) {
    if (ids.length === 0) problems.push({ path: kind, got: "nothing", wanted: "at least one" });
  }
  return problems;
}
