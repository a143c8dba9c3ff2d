import { isWrite, keysOf } from "./commands.ts";
import type { Command, Engine } from "./engine.ts";
import type { FaultBoard } from "./faults.ts";
import { answerRead } from "./read-faults.ts";
import { Replica } from "./replica.ts";
import { formatSyncToken, sequenceSeen } from "./sync-token.ts";
import type { Reply } from "./reply.ts";
import { isErrorReply } from "./reply.ts";

interface DatabaseOptions {
  readonly primary: Engine;
  readonly regions: readonly string[];
  readonly replicationLagMs: number;
  readonly faults: FaultBoard;
  readonly nowMs: () => number;
  /** Uniform on [0, 1): decides which writes are lost. */
  readonly random: () => number;
  /** Names this run of the server in sync tokens. */
  readonly run: string;
  /** Called after each change of the primary. */
  readonly onChange: () => void;
}

/** Commands of one REST request. */
export interface Batch {
  readonly commands: readonly Command[];
  readonly isAtomic: boolean;
  /** The region whose base URL was used; undefined for the plain one. */
  readonly region: string | undefined;
  readonly syncToken: string | undefined;
}

/** `reply` is a list with one entry per command, or one error when an atomic batch did not run. */
export interface BatchResult {
  readonly reply: Reply;
  readonly syncToken: string;
}

/** Global Upstash as its client sees it: one primary that takes all writes, and one lagging replica per region. */
export class Database {
  readonly #options: DatabaseOptions;
  readonly #replicas: ReadonlyMap<string, Replica>;
  #sequence = 0;
  #lastOnPrimary: Promise<unknown> = Promise.resolve();

  private constructor(options: DatabaseOptions, replicas: ReadonlyMap<string, Replica>) {
    this.#options = options;
    this.#replicas = replicas;
  }

  /** Opens the database with replicas that hold what the primary holds. */
  static async open(options: DatabaseOptions): Promise<Database> {
    const { primary, faults, nowMs, replicationLagMs: lagMs } = options;
    const images = await primary.copyKeys(await primary.listKeys());
    const replicas = new Map<string, Replica>();
    for (const region of options.regions) {
      const replica = new Replica({ region, lagMs, faults, nowMs });
      await replica.engine.applyImages(images);
      replicas.set(region, replica);
    }
    return new Database(options, replicas);
  }

  /**
   * Runs a batch. One that writes goes to the primary as a whole; one that reads goes to the region's replica, unless its
   * sync token shows that the client has seen later data than the replica has.
   */
  async run(batch: Batch): Promise<BatchResult> {
    const replica = batch.region === undefined ? undefined : this.#replicas.get(batch.region);
    if (replica !== undefined && !batch.commands.some(isWrite)) {
      await replica.catchUp();
      if (replica.sequence >= sequenceSeen(batch.syncToken, this.#options.run)) {
        const sequence = replica.sequence;
        return this.#result(await this.#runReads(replica.engine, batch), sequence);
      }
    }
    return this.#onPrimary(async () =>
      this.#result(await this.#runOnPrimary(batch), this.#sequence),
    );
  }

  /**
   * Brings every replica to where it is due. To be called before faults change: what was due before a freeze is in the
   * frozen copy.
   */
  async catchUp(): Promise<void> {
    for (const replica of this.#replicas.values()) await replica.catchUp();
  }

  /** Resolves when everything given to the primary so far has run. */
  async settle(): Promise<void> {
    await this.#lastOnPrimary;
  }

  #result(reply: Reply, sequence: number): BatchResult {
    return { reply, syncToken: formatSyncToken({ run: this.#options.run, sequence }) };
  }

  /** One batch at a time: between a write, its images and a possible roll-back nothing else may be seen or written. */
  #onPrimary<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#lastOnPrimary.then(work);
    this.#lastOnPrimary = done.catch(() => undefined);
    return done;
  }

  async #runOnPrimary(batch: Batch): Promise<Reply> {
    const { primary } = this.#options;
    if (!batch.commands.some(isWrite)) return this.#runReads(primary, batch);
    if (batch.isAtomic) {
      return this.#write(batch.commands, () => primary.executeAtomically(batch.commands));
    }
    const replies: Reply[] = [];
    for (const command of batch.commands) {
      replies.push(
        isWrite(command)
          ? await this.#write([command], () => primary.execute(command))
          : await answerRead(primary, command, this.#readFaults(batch.region)),
      );
    }
    return replies;
  }

  async #runReads(engine: Engine, batch: Batch): Promise<Reply> {
    const faults = this.#readFaults(batch.region);
    const isHonest = !faults.isEmpty && faults.lies.length === 0;
    if (batch.isAtomic && isHonest) return engine.executeAtomically(batch.commands);
    return Promise.all(batch.commands.map((command) => answerRead(engine, command, faults)));
  }

  #readFaults(region: string | undefined) {
    const { faults, nowMs } = this.#options;
    return {
      isEmpty: faults.find("empty", region) !== undefined,
      lies: faults.lies(region),
      nowMs,
    };
  }

  async #write(commands: readonly Command[], execute: () => Promise<Reply>): Promise<Reply> {
    const { primary, faults, nowMs, random, onChange } = this.#options;
    const isFlush = commands.some(
      (command) => isWrite(command) && keysOf(command) === "everything",
    );
    const keys = isFlush
      ? await primary.listKeys()
      : [...new Set(commands.filter(isWrite).flatMap((command) => keysOf(command)))];
    // The owner of the write gets its answer in any case: that is what makes a lost write hard to notice.
    const before = random() < faults.lossOf(undefined) ? await primary.copyKeys(keys) : undefined;
    const reply = await execute();
    if (before !== undefined) {
      await primary.applyImages(before);
      return reply;
    }
    if (isErrorReply(reply)) return reply;
    const images = await primary.copyKeys(isFlush ? await primary.listKeys() : keys);
    this.#sequence += 1;
    const change = { sequence: this.#sequence, writtenAtMs: nowMs(), isFlush, images };
    for (const [region, replica] of this.#replicas) {
      const isLost = random() < faults.lossOf(region);
      replica.receive(isLost ? { ...change, isFlush: false, images: [] } : change);
    }
    onChange();
    return reply;
  }
}
