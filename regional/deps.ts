import type { Hono } from "hono";
import type { PrewarmPolicy } from "#shared/admission/prewarm-budget.ts";
import { defaultQueuePolicy } from "#shared/admission/queue-policy.ts";
import type { QueuePolicy } from "#shared/admission/queue-policy.ts";
import { defaultStartPolicy } from "#shared/admission/start-share.ts";
import { defaultBreakerPolicy } from "#shared/breaker/breaker-policy.ts";
import { defaultTurnPolicy } from "#shared/conversation/turn-policy.ts";
import type { TurnPolicy } from "#shared/conversation/turn-policy.ts";
import { defaultDegradePolicy } from "#shared/overload/degrade-policy.ts";
import { defaultLevelPolicy } from "#shared/overload/level-policy.ts";
import type { LevelPolicy } from "#shared/overload/level-policy.ts";
import { createEncoder } from "#shared/protocol/encoders/create-encoder.ts";
import type { HistoryStore } from "#shared/protocol/internal/history.ts";
import { defaultHealthPolicy } from "#shared/health/health-policy.ts";
import { defaultSelectionPolicy } from "#shared/routing/selection-policy.ts";
import type { Log } from "#shared/telemetry/log-record.ts";
import { createMetricsRegistry } from "#shared/telemetry/metrics.ts";
import { policyVersionOf } from "#shared/telemetry/policy-version.ts";
import { continueTrace } from "#shared/telemetry/traceparent.ts";
import { createCacheSalt } from "./adapters/cache-salt.ts";
import { createCallVerifier } from "./adapters/call-verifier.ts";
import { createDrainFile } from "./adapters/drain-file.ts";
import { createHealthPublisher } from "./adapters/health-publisher.ts";
import { createHttpSupervisor } from "./adapters/http-supervisor.ts";
import { createJsonLog } from "./adapters/json-log.ts";
import { systemClock } from "./adapters/system-clock.ts";
import { systemRandom } from "./adapters/system-random.ts";
import { createCellApp } from "./app.ts";
import { createPlatforms } from "./backends/platforms/create-platforms.ts";
import { createEngines } from "./backends/create-engines.ts";
import type { CellConfig } from "./config.ts";
import { openDatabase } from "./open-database.ts";
import { createCellHealth } from "./health/cell-health.ts";
import type { DrainFile } from "./ports/drain-file.ts";
import { createOverload } from "./overload/overload.ts";
import { gatePrewarm } from "./overload/prewarm-gate.ts";
import { createProber, defaultProberPolicy } from "./prober/prober.ts";
import { createCellScaling } from "./scaler/cell-scaling.ts";
import type { NotReadyReason, Readiness } from "./routes/cell-deps.ts";
import { registerCellGauges } from "./scheduler/cell-gauges.ts";
import { createScheduler } from "./scheduler/cell-scheduler.ts";
import { describeCell } from "./scheduler/cell-snapshot.ts";
import { createPrewarmer } from "./scheduler/prewarmer.ts";
import { createLoadScraper } from "./scheduler/load-scraper.ts";
import { createPromptKeys } from "./scheduler/prompt-keys.ts";
import { createShardBook } from "./scheduler/shard-book.ts";
import { createShardDrains } from "./scheduler/shard-drains.ts";
import { createWarmConversations } from "./scheduler/warm-conversations.ts";
import { createBufferBudget } from "./turns/buffer-budget.ts";
import { createTurnRegistry, defaultRegistryPolicy } from "./turns/turn-registry.ts";
import type { RegistryPolicy } from "./turns/turn-registry.ts";
import { createTurnTelemetry } from "./turns/turn-telemetry.ts";
import { createUsageQueue } from "./turns/usage-queue.ts";
import { createScaledShards } from "./warming/scaled-shards.ts";
import { createCellWarming } from "./warming/cell-warming.ts";
import { createSmallerWhileCold } from "./warming/smaller-while-cold.ts";

/** Frames of all turns together, bytes. */
const bufferBytesMax = 256 * 1024 * 1024;
/** How often running turns see the time, forgotten ones are swept, usage is written and the database is asked, ms. */
const turnTickMs = 100;
const sweepMs = 1_000;
const databaseAskMs = 2_000;
const databaseAnswerMs = 1_500;
/** The edge gives a cell up that says nothing for 10 s; proxies close silent streams after 30 s or more. */
const heartbeatMs = 3_000;

/** A cell, wired. */
export interface Cell {
  readonly app: Hono;
  readonly log: Log;
  /** Begins to probe, publish and tick. */
  start(): void;
  /** Takes no new turn from now on; resolves when none runs, at the latest after `deadlineMs` from now. */
  drain(timeoutMs: number): Promise<void>;
  /** Ends timers and connections. */
  close(): Promise<void>;
}

/** What tests put in place of the defaults. */
export interface CellOverrides {
  readonly history?: HistoryStore;
  readonly drainFile?: DrainFile;
  readonly prewarmPolicy?: PrewarmPolicy;
  readonly writeLog?: (line: string) => void;
  readonly turnPolicy?: Partial<TurnPolicy>;
  readonly queuePolicy?: Partial<QueuePolicy>;
  readonly registryPolicy?: Partial<RegistryPolicy>;
  readonly levelPolicy?: LevelPolicy;
  readonly bufferBytesMax?: number;
}

/** The composition root: the only place that knows configuration and adapters both. */
export async function createCell(config: CellConfig, overrides: CellOverrides = {}): Promise<Cell> {
  const { cell } = config;
  const clock = systemClock;
  const random = systemRandom;
  const startedAtMs = clock.nowMs();
  const log = createJsonLog({
    part: "cell",
    minimum: config.logLevel,
    cell: cell.id,
    region: cell.region,
    jurisdiction: cell.jurisdiction,
    ...(overrides.writeLog === undefined ? {} : { write: overrides.writeLog }),
  });
  const queuePolicy = { ...defaultQueuePolicy, ...overrides.queuePolicy };
  const levelPolicy = overrides.levelPolicy ?? defaultLevelPolicy;
  const policyVersion = policyVersionOf([
    queuePolicy,
    levelPolicy,
    defaultBreakerPolicy,
    defaultDegradePolicy,
    defaultHealthPolicy,
    defaultSelectionPolicy,
    defaultStartPolicy,
  ]);
  const logDecision: Log = (logLevel, event, fields) =>
    log(logLevel, event, { ...fields, policyVersion });
  const metrics = createMetricsRegistry();
  const { canaryStore, history, scalingStore } = await openDatabase(config, overrides, log);
  const cacheSalt = createCacheSalt(config.cacheSaltKey);
  const promptKeys = createPromptKeys(cacheSalt);
  const engines = await createEngines(config, cacheSalt, clock, log, (shard, load) =>
    book.reported(shard, load, book.ownOf(shard), clock.nowMs()),
  );
  const contextTokensMax = (model: string): number =>
    config.topology.jurisdictions.get(cell.jurisdiction)?.models.get(model)?.contextTokensMax ?? 0;
  const ownShards = config.shards.map(({ description }) => description);
  const newTraceparent = (): string => continueTrace("", random.hex(16), random.hex(8));
  const health = createCellHealth({
    cell,
    shards: ownShards,
    engines,
    clock,
    metrics,
    log: logDecision,
    keyHex: config.cacheSaltKey,
    references: canaryStore,
    isChat: (model) =>
      config.topology.jurisdictions
        .get(cell.jurisdiction)
        ?.models.get(model)
        ?.capabilities.includes("chat") ?? false,
    traceparent: newTraceparent,
    canaryPeriodMs: config.canaryPeriodMs,
    onAnswered: (shard) => book.canaried(shard, clock.nowMs()),
    onChange: () => publisher?.notify(),
  });
  const warming = createCellWarming({
    config,
    clock,
    random,
    traceparent: newTraceparent,
    metrics,
    log,
  });
  const book = createShardBook({
    shards: ownShards,
    jurisdiction: cell.jurisdiction,
    contextTokensMax,
    random: () => random.unit(),
    policy: defaultBreakerPolicy,
    startedAtMs,
    level: () => level.level(),
    isConfined: (tenant) => health.poison.hasBrokenShard(tenant),
    health: health.shards,
    lives: warming.lives,
  });
  const refusals = metrics.counter(
    "meridian_queue_refusals_total",
    "Turns that were not dispatched, by class and reason.",
  );
  const queue = createScheduler({
    book,
    clock,
    random,
    policy: queuePolicy,
    hasNeighbour: (model) => hasNeighbour(config, model),
    warmth: warming.warmth,
    level: () => level.level(),
    onRefused: (model, priority, reason) => refusals.add({ model, class: priority, reason }),
  });
  const overload = createOverload({
    cell,
    topology: config.topology,
    statuses: () => book.statuses(clock.nowMs()),
    scheduler: queue,
    clock,
    random,
    metrics,
    log: logDecision,
    levelPolicy,
    onLevel: () => publisher?.notify(),
  });
  const { level, scheduler } = overload;
  const warmer = warming.attach({
    engines,
    statuses: () => book.statuses(clock.nowMs()),
    waiting: () => scheduler.waiting(),
    onReady() {
      scheduler.wake();
      publisher?.notify();
    },
  });
  const budget = createBufferBudget(overrides.bufferBytesMax ?? bufferBytesMax);
  const usage = createUsageQueue(history, clock);
  const prewarmer = gatePrewarm(
    createPrewarmer({
      book,
      engines,
      clock,
      promptKeys,
      onReleased: () => scheduler.wake(),
      ...(overrides.prewarmPolicy === undefined ? {} : { policy: overrides.prewarmPolicy }),
    }),
    () => level.level(),
  );
  const warmed = metrics.counter(
    "meridian_prewarmed_tokens_total",
    "Prompt tokens computed ahead for conversations of drained shards.",
  );
  const warm = createWarmConversations({
    history,
    prewarmer,
    clock,
    contextTokensMax,
    traceparent: newTraceparent,
    onWarmed: (shard, cachedTokens, promptTokens) => {
      warmed.add({ shard }, promptTokens - cachedTokens);
      log("info", "warmed_ahead", { shard, cachedTokens, promptTokens });
    },
  });
  const telemetry = createTurnTelemetry({ metrics, log: logDecision, usage, clock });
  const supervisor = config.supervisor === null ? null : createHttpSupervisor(config.supervisor);
  const scaling = createCellScaling({
    config,
    platforms: createPlatforms({ config, supervisor, monotonicMs: () => performance.now() }),
    book,
    startsMsOf: (shard) => warming.lives.startsMs(shard),
    queues: () => queue.queues(),
    store: scalingStore,
    preload: (model, shards, untilMs) => warmer.preload(model, shards, untilMs),
    clock,
    monotonicMs: () => performance.now(),
    boot: random.hex(8),
    metrics,
    log,
  });
  const smallerWhile = createSmallerWhileCold({
    cell,
    topology: config.topology,
    statuses: () => book.statuses(clock.nowMs()),
    hasWarmNeighbour: (model) => warming.warmth.hasWarmNeighbour(model),
    metrics,
  });
  const registry = createTurnRegistry({
    budget,
    clock,
    policy: { ...defaultRegistryPolicy, ...overrides.registryPolicy },
    degrade: (request) => overload.degrade(smallerWhile(request)),
    deps: {
      cell: cell.id,
      region: cell.region,
      scheduler,
      guards: overload.guards,
      engines,
      createEncoder,
      contextTokensMax,
      promptKeys,
      poison: health.poison,
      clock,
      policy: { ...defaultTurnPolicy, ...overrides.turnPolicy },
      observer: {
        ...telemetry,
        firstToken(request, state) {
          telemetry.firstToken(request, state);
          scaling.meter.firstToken(request, (state.ttftMs ?? 0) + state.queueWaitMs);
        },
        ended(request, outcome) {
          telemetry.ended(request, outcome);
          scaling.meter.ended(request, outcome);
          prewarmer.measured(outcome);
          warm.ended(request, outcome);
          overload.ended(request, outcome);
        },
      },
    },
  });
  const drains = createShardDrains({
    book,
    file: overrides.drainFile ?? createDrainFile(config.dataDir),
    nowMs: () => clock.nowMs(),
    leaveShard: (shard) => registry.leaveShard(shard),
    onUndrained: () => scheduler.wake(),
  });
  const scaledShards = createScaledShards({
    shards: ownShards.map(({ id }) => id),
    supervisor,
    clock,
    note: (shard, event) => warming.lives.note(shard, event, clock.nowMs()),
    inFlight: (shard) => book.statuses(clock.nowMs()).find(({ id }) => id === shard)?.inFlight ?? 0,
    leave: (shard) => registry.leaveShard(shard),
    onChange(shard, to, from) {
      log("info", "shard_scaled", { shard, reason: to });
      if (from === "stopped") book.restarted(shard);
      scheduler.wake();
      publisher?.notify();
    },
  });
  registerCellGauges(metrics, {
    book,
    engines,
    queue,
    registry,
    budget,
    usage,
    clock,
    cell: cell.id,
    region: cell.region,
  });
  const publishFailures = metrics.counter(
    "meridian_health_publish_failures_total",
    "Health hints that could not be written.",
  );
  const publisher =
    config.healthKv === null
      ? null
      : createHealthPublisher({
          url: config.healthKv.url,
          token: config.healthKv.token,
          macKeyHex: config.healthKv.macKey,
          cell: cell.id,
          nowMs: () => clock.nowMs(),
          snapshot: () =>
            describeCell(
              book.statuses(clock.nowMs()),
              scheduler.waiting(),
              isDraining,
              level.level(),
            ),
          onFailure: () => publishFailures.add({}),
        });
  const prober = createProber({
    engines: new Map([...engines].filter(([shard]) => warming.mayProbe(shard))),
    clock,
    policy: defaultProberPolicy,
    onResult(shard, result) {
      // An engine that was ended on purpose is not ill.
      if (!scaledShards.isStopped(shard)) book.probed(shard, result, clock.nowMs());
    },
  });
  const scraper = createLoadScraper({
    engines,
    clock,
    own: (shard) => book.ownOf(shard),
    onLoad: (shard, load, own) => book.reported(shard, load, own, clock.nowMs()),
  });
  let isDraining = false;
  let isDatabaseThere = false;
  // Before the first prompt: a cell that starts must not ask engines that have been ended.
  await scaledShards.look();
  const stops: (() => void)[] = [];
  let stopScaling = async (): Promise<void> => {};

  async function askDatabase(): Promise<void> {
    isDatabaseThere = await history.ping(clock.nowMs() + databaseAnswerMs);
  }

  function readiness(): Readiness {
    const reasons: NotReadyReason[] = [];
    // What is cold is started for who comes.
    const isUsable = book
      .statuses(clock.nowMs())
      .some(({ isUsable: isUp, life }) => isUp || (life.readyInMs ?? 0) > 0);
    if (isDraining) reasons.push("draining");
    if (!isUsable) reasons.push("noUsableShard");
    if (!isDatabaseThere) reasons.push("databaseUnavailable");
    return { isReady: isUsable && !isDraining, reasons };
  }

  const app = createCellApp({
    cell,
    verifier: createCallVerifier({
      keys: new Map(Object.entries(config.signingKeys.keys)),
      cell: cell.id,
      startedAtMs,
      nowMs: () => clock.nowMs(),
    }),
    registry: {
      ...registry,
      begin(request, traceparent) {
        const reply = registry.begin(request, traceparent);
        // Refused ones are demand as well; a second delivery of a turn is not.
        if (reply.kind === "started" || reply.kind === "refused") scaling.meter.arrived(request);
        return reply;
      },
    },
    level,
    plans: () => scaling.plans(),
    throttle: overload.throttle,
    drains,
    engines,
    prewarmer,
    warm,
    history,
    clock,
    random,
    log,
    metrics,
    readiness,
    heartbeatMs,
  });

  return {
    app,
    log,
    start() {
      void askDatabase();
      overload.tick();
      stops.push(
        prober.start(),
        scaledShards.start(),
        scraper.start(),
        health.start(() =>
          book.statuses(clock.nowMs()).filter((status) => warming.mayCanary(status)),
        ),
        warmer.start(),
        clock.every(turnTickMs, () => {
          registry.tick();
          overload.tick();
          scheduler.wake();
        }),
        clock.every(sweepMs, () => {
          registry.sweep();
          drains.tick();
          void usage.flush();
        }),
        clock.every(databaseAskMs, () => void askDatabase()),
      );
      publisher?.start();
      stopScaling = scaling.start();
    },
    async drain(timeoutMs) {
      isDraining = true;
      publisher?.notify();
      registry.drain();
      scheduler.drain();
      const late = Promise.withResolvers<void>();
      const stop = clock.after(timeoutMs, () => late.resolve());
      await Promise.race([registry.idle(), late.promise]);
      stop();
      registry.handOverAll();
      await usage.flush();
    },
    async close() {
      for (const stop of stops.splice(0)) stop();
      await stopScaling();
      publisher?.stop();
      for (const engine of engines.values()) engine.close();
      await history.close();
    },
  };
}

/** Whether another cell of the jurisdiction has shards of the model. */
function hasNeighbour({ cell, topology }: CellConfig, model: string): boolean {
  const shards = topology.jurisdictions.get(cell.jurisdiction)?.shards ?? [];
  return shards.some((shard) => shard.model === model && shard.cell !== cell.id);
}
