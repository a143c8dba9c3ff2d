// The linter reads dev/ with the root configuration, which has no Node types; without them it takes Node's classes for `any`.
import { connect } from "node:net";
import type { Socket } from "node:net";

import type { Reply } from "./reply.ts";
import { ReplyReader, encodeCommand } from "./resp.ts";

/** Longest wait for an answer; a local server answers in well under a millisecond. */
const answerTimeoutMs = 5000;

interface Waiting {
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: Error) => void;
}

/**
 * One connection to a redis-server, opened by the first command and again by the first one after it was lost. Commands are
 * answered in the order sent; a lost connection rejects all that wait, and nothing is sent twice.
 */
export class RespConnection {
  readonly #address: { readonly host: string; readonly port: number };
  #socket: Socket | undefined;
  #waiting: Waiting[] = [];

  constructor(address: { readonly host: string; readonly port: number }) {
    this.#address = address;
  }

  /** Sends commands in one write, so that none of another caller comes in between. Answers one reply for each. */
  send(commands: readonly (readonly string[])[]): Promise<Reply[]> {
    const socket = (this.#socket ??= this.#open());
    const replies = commands.map(
      () =>
        new Promise<Reply>((resolve, reject) => {
          this.#waiting.push({ resolve, reject });
        }),
    );
    socket.write(commands.map(encodeCommand).join(""), "latin1");
    return Promise.all(replies);
  }

  close(): void {
    this.#socket?.destroy();
  }

  #open(): Socket {
    const socket = connect(this.#address);
    const reader = new ReplyReader();
    const waiting: Waiting[] = (this.#waiting = []);
    let cause: Error = new Error("the redis-server closed the connection");
    socket.setEncoding("latin1");
    socket.setNoDelay(true);
    socket.setTimeout(answerTimeoutMs, () => {
      // An idle connection is no fault; one that owes an answer is.
      if (waiting.length > 0) socket.destroy(new Error("the redis-server does not answer"));
    });
    socket.on("data", (piece: string) => {
      try {
        for (const reply of reader.read(piece)) waiting.shift()?.resolve(reply);
      } catch (error) {
        socket.destroy(error instanceof Error ? error : new Error("unreadable reply"));
      }
    });
    socket.on("error", (error) => {
      // A name with two addresses fails with an error whose own message is empty.
      const reason = error.message === "" ? error.name : error.message;
      const { host, port } = this.#address;
      cause = new Error(`the redis-server at ${host}:${port} cannot be used: ${reason}`, {
        cause: error,
      });
    });
    socket.on("close", () => {
      if (this.#socket === socket) this.#socket = undefined;
      for (const one of waiting.splice(0)) one.reject(cause);
    });
    return socket;
  }
}
