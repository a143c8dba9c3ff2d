import type { MetricsRegistry } from "#shared/telemetry/metrics.ts";
import type { LevelSource } from "./level-source.ts";

/** Registers the degradation level and what it is decided from, read when metrics are. */
export function registerOverloadGauges(
  metrics: MetricsRegistry,
  parts: { readonly level: LevelSource; readonly deferredCount: () => number },
): void {
  const source = parts.level;
  metrics.gauge(
    "meridian_deferred_turns",
    "Batch turns that are kept back until the cell has room.",
    (gauge) => {
      gauge.set({}, parts.deferredCount());
    },
  );
  metrics.gauge("meridian_overload_level", "Degradation level of the cell, 0 to 4.", (gauge) => {
    gauge.set({}, source.level());
  });
  metrics.gauge(
    "meridian_overload_input",
    "What the degradation level is decided from: saturation (10 s), queue delay / SLO, healthy share, error ratio.",
    (gauge) => {
      const { errorRatio, healthyShare, queueDelay, saturation } = source.inputs();
      gauge.set({ input: "saturation" }, saturation);
      gauge.set({ input: "queueDelay" }, queueDelay);
      gauge.set({ input: "healthyShare" }, healthyShare);
      gauge.set({ input: "errorRatio" }, errorRatio);
    },
  );
}
