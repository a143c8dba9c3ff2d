import type { Scheduled } from "../kernel.ts";
import type { Process } from "../process.ts";
import type { Network } from "./network.ts";

/** Who reads a pipe. After `ended` or `cut` nothing comes. */
export interface PipeReader<Chunk> {
  chunk(chunk: Chunk): void;
  /** The body ended as HTTP bodies end, whether it was whole or not. */
  ended(): void;
  cut(): void;
}

/** One HTTP body on its way: in order, without loss, but it may break, end early, or fall silent. */
export class Pipe<Chunk> {
  readonly #network: Network;
  readonly #from: Process;
  readonly #to: Process;
  readonly #reader: PipeReader<Chunk>;
  readonly #kind: string;
  readonly #contentOf: (chunk: Chunk) => string;
  readonly #closers: (() => void)[] = [];
  readonly #stops: (() => unknown)[];
  #dueMs = 0;
  #last: Scheduled | null = null;
  #isSilent = false;
  isOpen = true;

  constructor(
    network: Network,
    from: Process,
    to: Process,
    kind: string,
    contentOf: (chunk: Chunk) => string,
    reader: PipeReader<Chunk>,
  ) {
    this.#network = network;
    this.#from = from;
    this.#to = to;
    this.#reader = reader;
    this.#kind = kind;
    this.#contentOf = contentOf;
    this.#stops = [
      from.onDeath(() => this.breakOff(network.faults.fires("pipe.cleanEnd") ? "ended" : "cut")),
      to.onDeath(() => network.kernel.at(1, from, `${kind}.gone`, () => this.close())),
    ];
  }

  /** Tells the writer that nobody reads any more. */
  onClose(run: () => void): void {
    this.#closers.push(run);
  }

  write(chunk: Chunk): void {
    if (!this.isOpen) return;
    const { faults } = this.#network;
    this.#network.inspect(this.#from, this.#to.zone, this.#to.name, () => this.#contentOf(chunk));
    if (!this.#network.connects(this.#from.name, this.#to.name)) this.#isSilent = true;
    if (this.#isSilent) return;
    if (faults.fires("pipe.cut")) return this.breakOff("cut");
    if (faults.fires("pipe.cleanEnd")) return this.breakOff("ended");
    if (faults.fires("pipe.silence")) this.#isSilent = true;
    this.#deliver("chunk", () => this.#reader.chunk(chunk));
  }

  /** A whole body's end. */
  end(): void {
    if (!this.isOpen) return;
    if (this.#isSilent) return;
    this.#deliver("end", () => this.#reader.ended());
    this.#forget();
  }

  /** The body stops here; the last chunk may be lost with it. */
  breakOff(how: "cut" | "ended"): void {
    if (!this.isOpen) return;
    if (this.#last !== null && this.#network.kernel.random("network").chance(0.5)) {
      this.#last.run = null;
    }
    this.#deliver(how, () => (how === "cut" ? this.#reader.cut() : this.#reader.ended()));
    this.#forget();
    for (const run of this.#closers) run();
  }

  /** The reader takes nothing more. */
  close(): void {
    if (!this.isOpen) return;
    this.#forget();
    for (const run of this.#closers) run();
  }

  #forget(): void {
    this.isOpen = false;
    for (const stop of this.#stops) stop();
  }

  #deliver(what: string, run: () => void): void {
    const { kernel } = this.#network;
    this.#dueMs = Math.max(this.#dueMs + 0.01, kernel.nowMs + this.#network.delayMs());
    this.#last = kernel.at(this.#dueMs - kernel.nowMs, this.#to, `${this.#kind}.${what}`, run);
  }
}
