import { showValue } from "./topology-problem.ts";
import type { TopologyProblem } from "./topology-problem.ts";
import type { TopologyFile } from "./topology.ts";

/**
 * Shards whose provider would take prompts out of their jurisdiction: a SageMaker endpoint in a region that the jurisdiction
 * does not list, and a Modal server whose traffic is routed through elsewhere. Modal sends all calls through Virginia unless
 * the server says otherwise, so that its routing region is never a default.
 */
export function providerRegionProblems(file: TopologyFile): TopologyProblem[] {
  const problems: TopologyProblem[] = [];
  for (const [id, { backend, cell }] of Object.entries(file.shards)) {
    const region = Object.hasOwn(file.cells, cell) ? file.cells[cell]?.region : undefined;
    const owner = Object.entries(file.jurisdictions).find(
      ([, { regions }]) => region !== undefined && regions.includes(region),
    );
    // A cell without a jurisdiction is complained of by itself.
    if (owner === undefined) continue;
    const [jurisdiction, { regions }] = owner;
    if (backend.kind === "sagemaker" && !regions.includes(backend.region)) {
      problems.push({
        path: `shards.${id}.backend.region`,
        got: showValue(backend.region),
        wanted: `a region of ${jurisdiction}, where its prompts must stay`,
      });
    }
    const routes = backend.kind === "modal" ? backend.routingRegion : jurisdiction;
    const isInside =
      routes === jurisdiction || routes.startsWith(`${jurisdiction}-`) || regions.includes(routes);
    if (!isInside) {
      problems.push({
        path: `shards.${id}.backend.routingRegion`,
        got: showValue(routes),
        wanted: `${jurisdiction}, ${jurisdiction}-… or a region of ${jurisdiction}, where its prompts must stay`,
      });
    }
  }
  return problems;
}
