/** Label values of one series; never a tenant, a conversation or anything else without a small bound. */
export type Labels = Readonly<Record<string, string>>;

/** A metric family in Prometheus' sense. Names carry their base unit, counters end in `_total`. */
export interface Counter {
  add(labels: Labels, amount?: number): void;
}
/** A value that goes up and down; read when the metrics are. */
export interface Gauge {
  set(labels: Labels, value: number): void;
}
/** Observations in buckets. */
export interface Histogram {
  observe(labels: Labels, value: number): void;
}

/** Metric families of one process, and their text form. */
export interface MetricsRegistry {
  counter(name: string, help: string): Counter;
  /** `collect` sets the series anew at each reading; what it does not set is gone. */
  gauge(name: string, help: string, collect: (gauge: Gauge) => void): void;
  histogram(name: string, help: string, bounds: readonly number[]): Histogram;
  /** Prometheus text format 0.0.4. */
  render(): string;
}

/** Series of one family; more are counted under the label `overflow`, so that memory stays bounded. */
const seriesMax = 2_000;
const overflow: Labels = { overflow: "true" };

function escapeLabel(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');
}

const overflowKey = '{overflow="true"}';

function keyOf(labels: Labels): string {
  const names = Object.keys(labels).toSorted();
  if (names.length === 0) return "";
  return `{${names.map((name) => `${name}="${escapeLabel(labels[name] ?? "")}"`).join(",")}}`;
}

/** Finds the keys of series; remembers as many as a family may have: a turn counts a dozen times. */
function createKeys(): (series: ReadonlyMap<string, unknown>, labels: Labels) => string {
  const known = new Map<string, string>();
  return (series, labels) => {
    let said = "";
    for (const name in labels) said += `${name}\u0000${labels[name] ?? ""}\u0000`;
    let key = known.get(said);
    if (key === undefined) {
      key = keyOf(labels);
      if (known.size < seriesMax) known.set(said, key);
    }
    return series.has(key) || series.size < seriesMax ? key : overflowKey;
  };
}

interface Family {
  readonly name: string;
  readonly lines: () => readonly string[];
}

interface Observed {
  readonly labels: Labels;
  readonly counts: number[];
  count: number;
  sum: number;
}

/** An empty registry. */
export function createMetricsRegistry(): MetricsRegistry {
  const families: Family[] = [];

  function add(name: string, help: string, type: string, lines: () => readonly string[]): void {
    families.push({
      name,
      lines: () => [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...lines()],
    });
  }

  function valueLines(name: string, series: ReadonlyMap<string, number>): readonly string[] {
    return [...series].map(([key, value]) => `${name}${key} ${value}`);
  }

  return {
    counter(name, help) {
      const series = new Map<string, number>();
      const seriesKey = createKeys();
      add(name, help, "counter", () => valueLines(name, series));
      return {
        add(labels, amount = 1) {
          const key = seriesKey(series, labels);
          series.set(key, (series.get(key) ?? 0) + amount);
        },
      };
    },
    gauge(name, help, collect) {
      const seriesKey = createKeys();
      add(name, help, "gauge", () => {
        const series = new Map<string, number>();
        collect({ set: (labels, value) => series.set(seriesKey(series, labels), value) });
        return valueLines(name, series);
      });
    },
    histogram(name, help, bounds) {
      const series = new Map<string, Observed>();
      const seriesKey = createKeys();
      add(name, help, "histogram", () =>
        [...series.values()].flatMap((observed) => histogramLines(name, bounds, observed)),
      );
      return {
        observe(labels, value) {
          const key = seriesKey(series, labels);
          const observed = series.get(key) ?? {
            labels: key === overflowKey ? overflow : labels,
            counts: bounds.map(() => 0),
            count: 0,
            sum: 0,
          };
          series.set(key, observed);
          observed.count += 1;
          observed.sum += value;
          bounds.forEach((bound, index) => {
            if (value <= bound) observed.counts[index] = (observed.counts[index] ?? 0) + 1;
          });
        },
      };
    },
    render: () => `${families.flatMap((family) => family.lines()).join("\n")}\n`,
  };
}

function histogramLines(
  name: string,
  bounds: readonly number[],
  { count, counts, labels, sum }: Observed,
): readonly string[] {
  const buckets = bounds.map(
    (bound, index) =>
      `${name}_bucket${keyOf({ ...labels, le: String(bound) })} ${counts[index] ?? 0}`,
  );
  return [
    ...buckets,
    `${name}_bucket${keyOf({ ...labels, le: "+Inf" })} ${count}`,
    `${name}_sum${keyOf(labels)} ${sum}`,
    `${name}_count${keyOf(labels)} ${count}`,
  ];
}
