import { createBufferBudget } from "#regional/turns/buffer-budget.ts";
import type { BufferBudget } from "#regional/turns/buffer-budget.ts";
import type { Clock } from "#regional/ports/clock.ts";
import { cursorAt } from "#regional/turns/frame-log.ts";
import type { RunningTurn } from "#regional/turns/running-turn.ts";
import { defaultRegistryPolicy } from "#regional/turns/turn-registry.ts";
import type { TurnRegistry } from "#regional/turns/turn-registry.ts";
import { plainAbilities } from "#shared/config/engine-abilities.ts";
import { defaultTurnPolicy } from "#shared/conversation/turn-policy.ts";
import type { TurnPolicy } from "#shared/conversation/turn-policy.ts";
import type { ErrorOutcome } from "#shared/errors/gateway-error.ts";
import { createEncoder } from "#shared/protocol/encoders/create-encoder.ts";
import type { HistoryCommand, HistoryReply } from "#shared/protocol/internal/history.ts";
import { heartbeatBlock } from "#shared/protocol/internal/stream.ts";
import { parseTurnRequest } from "#shared/protocol/internal/turn-request.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import { Process } from "../process.ts";
import { createSimScheduler } from "./cell-scheduler.ts";
import type { SlotBook } from "./cell-scheduler.ts";
import { eagerGuards } from "./eager-guards.ts";
import type { CellPlan } from "./ids.ts";
import { Pipe } from "./pipe.ts";
import type { PipeReader } from "./pipe.ts";
import type { World } from "./world.ts";

/** What a cell answers to a turn's call. */
export type CellHead =
  | {
      readonly kind: "stream";
      readonly open: (to: Process, reader: PipeReader<Uint8Array>) => Pipe<Uint8Array>;
    }
  | { readonly kind: "started" }
  | { readonly kind: "refused"; readonly error: ErrorOutcome; readonly mayMove: boolean }
  | { readonly kind: "notFound" }
  /** A fence, or another error about the call itself. */
  | { readonly kind: "conflict" };

/** A comment follows this much silence, ms; as regional/deps.ts has it. */
const heartbeatMs = 3_000;
/** Time between two looks at deadlines and stalls, ms; coarser than a cell's 100 ms, to have fewer events. */
const tickMs = 1_000;
/** A run is over in about a minute: begun answers wait less long for a shard than in production, or none would wait in vain. */
const turnPolicy: TurnPolicy = { ...defaultTurnPolicy, waitMsMax: 6_000 };
const heartbeat = Buffer.from(heartbeatBlock, "utf8");
const decoder = new TextDecoder();

/** A cell: the real registry, frame log, turn runner, rendering and encoders over simulated shards, clock and network. */
export class CellNode {
  readonly plan: CellPlan;
  readonly #world: World;
  process: Process | null = null;
  registry: TurnRegistry | null = null;
  budget: BufferBudget = createBufferBudget(1);
  slots: SlotBook = new Map();
  #lives = 0;

  constructor(world: World, plan: CellPlan) {
    this.plan = plan;
    this.#world = world;
    this.start();
  }

  start(): void {
    const { kernel, machines, clockOf } = this.#world;
    const { id, region, zone, shards } = this.plan;
    const process = new Process(kernel, id, zone, clockOf(id));
    const clock: Clock = {
      nowMs: () => process.now(),
      after: (delayMs, run) => {
        const timer = kernel.at(delayMs, process, "cell.timer", run);
        return () => {
          timer.run = null;
        };
      },
      every: () => () => undefined,
    };
    this.#lives += 1;
    this.process = process;
    this.slots = new Map();
    this.budget = createBufferBudget(64 * 1024 * 1024);
    const byTurn = new Map<string, string>();
    const waits = new Map<string, number>();
    const registry = machines.createTurnRegistry({
      clock,
      budget: this.budget,
      policy: defaultRegistryPolicy,
      degrade: (request) => ({ kind: "run", request }),
      deps: {
        cell: id,
        region,
        clock,
        createEncoder,
        contextTokensMax: () => 100_000,
        promptKeys: () => [],
        poison: { isQuarantined: () => false, suspect: () => Promise.resolve() },
        policy: turnPolicy,
        guards: eagerGuards(kernel.random("guards"), this.#world.recorder),
        scheduler: createSimScheduler(this.#world, process, shards, this.slots),
        engines: new Map(shards.map((shard) => [shard, this.#engine(shard, byTurn)])),
        observer: {
          decided: () => undefined,
          firstToken: () => undefined,
          continued: ({ turnId }) => {
            this.#world.recorder.sometimes("another shard went on with an answer");
            if (waits.delete(turnId)) {
              this.#world.recorder.sometimes("an answer went on after it had waited");
            }
          },
          waits: ({ turnId }, { reason }) => {
            if (reason === "waitedOut") {
              this.#world.recorder.sometimes("a begun answer waited in vain");
              return;
            }
            this.#world.recorder.sometimes("a begun answer waited for a shard");
            const sinceMs = waits.get(turnId) ?? kernel.nowMs;
            waits.set(turnId, sinceMs);
            this.#world.recorder.expect(
              // The cell's clock may run a little slower than the world's.
              kernel.nowMs - sinceMs <= turnPolicy.waitMsMax + tickMs,
              "bounded wait",
              () => `${turnId} began to wait again after its time was over`,
            );
          },
          estimated: () => undefined,
          tryEnded: () => undefined,
          ended: ({ turnId }, outcome) => {
            waits.delete(turnId);
            if (outcome.error?.code === "interrupted") {
              this.#world.recorder.sometimes("an answer could not be continued");
            }
          },
        },
      },
    });
    this.registry = registry;
    this.#requestTurns = byTurn;
    this.#tick(process, registry, 0);
  }

  #requestTurns = new Map<string, string>();

  #engine(shard: CellPlan["shards"][number], byTurn: ReadonlyMap<string, string>) {
    const { shards, faults } = this.#world;
    const ability = faults.has("shard.refusesPrefix") ? "text" : "tokens";
    return {
      shard,
      run: (
        call: Parameters<import("#regional/ports/engine.ts").Engine["run"]>[0],
        sink: Parameters<import("#regional/ports/engine.ts").Engine["run"]>[1],
        signal: AbortSignal,
      ) =>
        shards.get(shard)?.run(call, byTurn.get(call.requestId) ?? "", sink, signal) ??
        Promise.resolve({ reason: "unreachable" } as const),
      continuationAbility: () => ability,
      abilities: () => ({ abilities: plainAbilities, source: "stated" as const }),
      probe: () => Promise.resolve({ ok: true } as const),
      close: () => undefined,
    } as const;
  }

  #tick(process: Process, registry: TurnRegistry, count: number): void {
    this.#world.kernel.at(
      registry.runningCount() > 0 ? tickMs : 10_000,
      process,
      "cell.tick",
      () => {
        registry.tick();
        if (count % 10 === 0) registry.sweep();
        this.#tick(process, registry, count + 1);
      },
    );
  }

  crash(): void {
    const { kernel, faults } = this.#world;
    if (this.process === null) return;
    this.process.kill();
    this.process = null;
    // Nothing of it lives on: its shards' requests break with their connections.
    this.registry?.handOverAll();
    this.registry = null;
    const downMs = faults.has("region.loss") ? 5_000 : 200 + kernel.random("chaos").unit() * 3_000;
    kernel.at(downMs, null, "cell.restart", () => {
      if (this.process === null) this.start();
    });
  }

  /** SIGTERM: takes nothing new, hands over what runs, and comes back as another process. */
  drain(): void {
    const { process, registry } = this;
    if (process === null || registry === null) return;
    registry.drain();
    this.#world.kernel.at(1_500, process, "cell.handOver", () => registry.handOverAll());
    this.#world.kernel.at(2_500, process, "cell.exit", () => this.crash());
  }

  /** A signature from before this life of the cell may be a replay: it is refused (reliability.md, 9.3). */
  #isReplay(sentAtMs: number): boolean {
    const isReplay = this.process !== null && sentAtMs < this.process.startedAtMs;
    if (isReplay) this.#world.recorder.sometimes("a cell refused a call from before its start");
    return isReplay;
  }

  /** `PUT /internal/turns/…`. */
  async begin(request: TurnRequest, isDetached: boolean, sentAtMs: number): Promise<CellHead> {
    const { faults, recorder, quirks } = this.#world;
    const { registry, process } = this;
    if (registry === null || process === null || this.#isReplay(sentAtMs))
      return { kind: "conflict" };
    const parsed = parseTurnRequest(request);
    recorder.expect(
      parsed.ok,
      "contract",
      () => `a turn request is misshapen: ${JSON.stringify(parsed)}`,
    );
    const isForeign = request.jurisdiction !== this.plan.zone || request.cell !== this.plan.id;
    if (isForeign && !quirks.has("cellTakesForeign")) {
      recorder.violate(
        "I-05",
        `${request.turnId} of ${request.jurisdiction} was put to ${this.plan.id}`,
      );
      return { kind: "conflict" };
    }
    if (faults.fires("cell.saturated")) {
      return { kind: "refused", mayMove: true, error: { code: "saturated", message: "full" } };
    }
    this.#requestTurns.set(request.requestId, request.turnId);
    const begun = registry.begin(request, "trace");
    if (begun.kind === "refused") {
      return { kind: "refused", error: begun.error, mayMove: true };
    }
    if (begun.kind === "fenced" || begun.kind === "gone") {
      recorder.sometimes("a cell refused a lower attempt", begun.kind === "fenced");
      return { kind: "conflict" };
    }
    if (begun.kind === "started") {
      this.#world.generations.started(
        `${this.plan.id}#${this.#lives}`,
        request.turnId,
        request.attempt,
      );
    } else recorder.sometimes("a turn was joined");
    if (isDetached) return { kind: "started" };
    const { turn } = begun;
    const after = request.resume?.toSeq ?? 0;
    if (after < turn.frames.firstReadableAfter()) return { kind: "conflict" };
    await this.#begun(turn, process);
    const ending = turn.ending();
    if (ending !== null && ending.outcome.error !== null && !turn.hasBegun()) {
      const { error } = ending.outcome;
      const mayMove =
        error.code === "draining" ||
        error.code === "no_capacity_in_jurisdiction" ||
        error.code === "saturated";
      return { kind: "refused", error, mayMove };
    }
    return this.#stream(turn, after, false);
  }

  #begun(turn: RunningTurn, process: Process): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#world.kernel.at(heartbeatMs, process, "cell.head", resolve);
      void turn.begun().then(() => {
        timer.run = null;
        resolve();
      });
    });
  }

  /** `GET …/frames`. */
  follow(turnId: string, attempt: number, after: number, sentAtMs: number): CellHead {
    if (this.registry === null || this.#isReplay(sentAtMs)) return { kind: "conflict" };
    const found = this.registry.find(turnId, attempt);
    if (found === "superseded") return { kind: "conflict" };
    if (found === null) return { kind: "notFound" };
    if (after < found.frames.firstReadableAfter()) return { kind: "conflict" };
    return this.#stream(found, after, true);
  }

  #stream(turn: RunningTurn, after: number, opensWithComment: boolean): CellHead {
    const from = this.process;
    return {
      kind: "stream",
      open: (to, reader) => {
        if (from === null || !from.isAlive) {
          const dead = new Process(this.#world.kernel, this.plan.id, this.plan.zone, {
            skewMs: 0,
            drift: 0,
          });
          const pipe = new Pipe(
            this.#world.network,
            dead,
            to,
            "frames",
            (chunk: Uint8Array) => decoder.decode(chunk),
            reader,
          );
          pipe.breakOff("cut");
          return pipe;
        }
        const pipe = new Pipe(
          this.#world.network,
          from,
          to,
          "frames",
          (chunk: Uint8Array) => decoder.decode(chunk),
          reader,
        );
        void this.#pump(turn, after, from, pipe, opensWithComment);
        return pipe;
      },
    };
  }

  async #pump(
    turn: RunningTurn,
    after: number,
    process: Process,
    pipe: Pipe<Uint8Array>,
    opensWithComment: boolean,
  ): Promise<void> {
    const detach = turn.attach();
    pipe.onClose(detach);
    if (opensWithComment) pipe.write(heartbeat);
    let cursor = cursorAt(after);
    while (pipe.isOpen && process.isAlive) {
      const chunk = turn.frames.read(cursor);
      if (chunk === null) {
        if (!(await this.#changed(turn, process))) pipe.write(heartbeat);
        continue;
      }
      cursor = chunk.cursor;
      if (chunk.bytes.byteLength > 0) pipe.write(chunk.bytes);
      if (turn.request.lane === "stateless") turn.frames.acknowledge(cursor.seq);
      if (!chunk.isEnd) continue;
      detach();
      pipe.end();
      return;
    }
    detach();
  }

  #changed(turn: RunningTurn, process: Process): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = this.#world.kernel.at(heartbeatMs, process, "cell.heartbeat", () =>
        resolve(false),
      );
      void turn.frames.changed().then(() => {
        timer.run = null;
        resolve(true);
      });
    });
  }

  acknowledge(turnId: string, attempt: number, seq: number): void {
    this.registry?.acknowledge(turnId, attempt, seq);
  }

  remove(turnId: string, attempt: number): boolean {
    return this.registry?.remove(turnId, attempt) ?? false;
  }

  /** `DELETE …?after=n`: ends the turn and gives the rest of its stream; null when it is not here. */
  stop(turnId: string, attempt: number, after: number): string | null {
    const found = this.registry?.find(turnId, attempt) ?? null;
    if (found === null || found === "superseded") {
      return this.remove(turnId, attempt) ? "" : null;
    }
    found.abort(null);
    const { frames } = found;
    const from = after < frames.firstReadableAfter() ? frames.lastSeq() : after;
    let text = "";
    let chunk = frames.read(cursorAt(from));
    while (chunk !== null) {
      text += decoder.decode(chunk.bytes);
      chunk = chunk.isEnd ? null : frames.read(chunk.cursor);
    }
    this.registry?.remove(turnId, attempt);
    return text;
  }

  async history(command: HistoryCommand): Promise<HistoryReply> {
    const database = this.#world.databases.get(this.plan.region);
    const isForeign = command.jurisdiction !== this.plan.zone;
    this.#world.recorder.expect(
      !isForeign,
      "I-05",
      () => `history of ${command.jurisdiction} at ${this.plan.id}`,
    );
    if (command.kind === "erase") this.registry?.forgetConversation(command.conversationId);
    if (database === undefined) return { kind: "unavailable" };
    const reply = await database.execute(command);
    return reply;
  }
}
