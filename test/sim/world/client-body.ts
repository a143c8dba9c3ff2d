import type { Process } from "../process.ts";
import { Pipe } from "./pipe.ts";
import type { PipeReader } from "./pipe.ts";
import type { World } from "./world.ts";

/** A client that has not come for its body by then is gone, ms. */
const openTimeoutMs = 5_000;
const decoder = new TextDecoder();

/** A streamed body on its way from a Worker to a client. What is written before the client reads is kept. */
export class ClientBody {
  readonly #world: World;
  readonly #process: Process;
  /** Written by the Worker that relays the turn; else by one that reads a turn which exists. */
  readonly isRelayed: boolean;
  #waiting: Uint8Array[] = [];
  #pipe: Pipe<Uint8Array> | null = null;
  #hasEnded = false;
  #isClosed = false;
  #onClose: () => void = () => undefined;

  constructor(world: World, process: Process, isRelayed: boolean) {
    this.#world = world;
    this.isRelayed = isRelayed;
    this.#process = process;
    world.kernel.at(openTimeoutMs, process, "client.late", () => {
      if (this.#pipe === null && this.#waiting.length > 0) this.#close();
    });
  }

  onClose(run: () => void): void {
    this.#onClose = run;
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#onClose();
  }

  write(bytes: Uint8Array): void {
    if (this.#pipe === null) this.#waiting.push(bytes);
    else this.#pipe.write(bytes);
  }

  end(): void {
    this.#hasEnded = true;
    this.#pipe?.end();
  }

  /** The client begins to read. */
  open(client: Process, reader: PipeReader<Uint8Array>): Pipe<Uint8Array> {
    const { network } = this.#world;
    const pipe = new Pipe(
      network,
      this.#process,
      client,
      "body",
      (chunk: Uint8Array) => decoder.decode(chunk),
      reader,
    );
    this.#pipe = pipe;
    pipe.onClose(() => this.#close());
    if (!this.#process.isAlive) {
      pipe.breakOff("cut");
      return pipe;
    }
    for (const bytes of this.#waiting) pipe.write(bytes);
    this.#waiting = [];
    if (this.#hasEnded) pipe.end();
    return pipe;
  }
}
