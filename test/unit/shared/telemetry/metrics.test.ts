import { describe, it } from "vitest";
import { createMetricsRegistry } from "#shared/telemetry/metrics.ts";

describe("the metrics registry", () => {
  it("renders counters, gauges and histograms in Prometheus' text format", ({ expect }) => {
    const metrics = createMetricsRegistry();
    const counter = metrics.counter("a_total", "As.");
    counter.add({ code: "x" });
    counter.add({ code: "x" }, 2);
    metrics.gauge("b", "Bs.", (gauge) => gauge.set({}, 7));
    const histogram = metrics.histogram("c_seconds", "Cs.", [0.1, 1]);
    histogram.observe({ m: "n" }, 0.1);
    histogram.observe({ m: "n" }, 0.5);
    histogram.observe({ m: "n" }, 2);
    expect(metrics.render()).toBe(
      [
        "# HELP a_total As.",
        "# TYPE a_total counter",
        'a_total{code="x"} 3',
        "# HELP b Bs.",
        "# TYPE b gauge",
        "b 7",
        "# HELP c_seconds Cs.",
        "# TYPE c_seconds histogram",
        'c_seconds_bucket{le="0.1",m="n"} 1',
        'c_seconds_bucket{le="1",m="n"} 2',
        'c_seconds_bucket{le="+Inf",m="n"} 3',
        'c_seconds_sum{m="n"} 2.6',
        'c_seconds_count{m="n"} 3',
        "",
      ].join("\n"),
    );
  });

  it("escapes label values", ({ expect }) => {
    const metrics = createMetricsRegistry();
    metrics.counter("a_total", "As.").add({ x: 'a"b\\c\nd' });
    expect(metrics.render()).toContain('a_total{x="a\\"b\\\\c\\nd"} 1');
  });

  it("counts what exceeds its series in one, so that memory is bounded", ({ expect }) => {
    const metrics = createMetricsRegistry();
    const counter = metrics.counter("a_total", "As.");
    for (let index = 0; index < 2_500; index += 1) counter.add({ index: String(index) });
    expect(metrics.render()).toContain('a_total{overflow="true"} 500');
  });

  it("forgets gauge series that are no longer set", ({ expect }) => {
    const metrics = createMetricsRegistry();
    let models = ["m"];
    metrics.gauge("g", "Gs.", (gauge) => models.forEach((model) => gauge.set({ model }, 1)));
    expect(metrics.render()).toContain('g{model="m"} 1');
    models = [];
    expect(metrics.render()).not.toContain("g{");
  });
});
