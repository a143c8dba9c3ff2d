import type { StepContext } from "#shared/conversation/step.ts";
import { productMachines as product } from "../world/machines.ts";
import type { Mutant } from "./mutant.ts";

function attemptOf({ store }: StepContext, turnId: string, otherwise: number): number {
  const running = store.readHead()?.runningTurnRandom ?? null;
  const turn = running === null ? null : store.readTurn(running);
  return turn?.turnId === turnId ? turn.attempt : otherwise;
}

/** Bugs of the object's machine and of its shell. */
export const objectMutants: readonly Mutant[] = [
  { name: "the object answers before its write is durable", quirks: ["noOutputGate"] },
  { name: "the incarnation is not raised", quirks: ["incarnationNotRaised"], seeds: 200 },
  {
    name: "a checkpoint is not fenced by its attempt",
    machines: {
      checkpoint: (context, input) =>
        product.checkpoint(context, {
          ...input,
          attempt: attemptOf(context, input.turnId, input.attempt),
        }),
    },
    profile: "isolated",
    seeds: 400,
  },
  {
    name: "the end of a turn is not fenced by its attempt",
    machines: {
      completeTurn: (context, input) =>
        product.completeTurn(context, {
          ...input,
          attempt: attemptOf(context, input.turnId, input.attempt),
        }),
    },
    profile: "isolated",
    seeds: 400,
  },
  {
    name: "the key is not compared with its body",
    machines: {
      beginTurn: (context, input) => {
        const { idempotency } = input;
        const known = idempotency === null ? null : context.store.readIdempotency(idempotency.key);
        if (known === null || idempotency === null) return product.beginTurn(context, input);
        const { bodySha256 } = known;
        return product.beginTurn(context, {
          ...input,
          idempotency: { ...idempotency, bodySha256 },
        });
      },
    },
  },
  {
    name: "the key is forgotten",
    machines: {
      beginTurn: (context, input) => product.beginTurn(context, { ...input, idempotency: null }),
    },
  },
  {
    name: "the conversation is not locked",
    machines: {
      beginTurn: (context, input) => {
        const head = context.store.readHead();
        if (head !== null) context.store.writeHead({ ...head, runningTurnRandom: null });
        return product.beginTurn(context, input);
      },
    },
  },
  {
    name: "the lock is not released",
    machines: {
      completeTurn: (context, input) => {
        const running = context.store.readHead()?.runningTurnRandom ?? null;
        const reply = product.completeTurn(context, input);
        const head = context.store.readHead();
        if (head !== null) context.store.writeHead({ ...head, runningTurnRandom: running });
        return reply;
      },
    },
  },
  {
    name: "a failed turn keeps its input",
    machines: {
      completeTurn: (context, input) => {
        const { store } = context;
        const before = store.readItems(1, Number.MAX_SAFE_INTEGER, 1_000);
        const reply = product.completeTurn(context, input);
        if (input.outcome.status === "failed") for (const item of before) store.replaceItem(item);
        return reply;
      },
    },
  },
  {
    name: "a checkpoint keeps the numbers and loses the frames",
    machines: {
      checkpoint: (context, input) =>
        product.checkpoint(context, { ...input, segment: { ...input.segment, text: "" } }),
    },
  },
  {
    name: "a failover does not raise the attempt",
    machines: {
      failover: (context, input) => {
        const result = product.failover(context, input);
        if (result.kind !== "lease") return result;
        const running = context.store.readHead()?.runningTurnRandom ?? "";
        const turn = context.store.readTurn(running);
        if (turn !== null) context.store.writeTurn({ ...turn, attempt: input.attempt });
        return { kind: "lease", lease: { ...result.lease, attempt: input.attempt } };
      },
    },
    seeds: 200,
  },
  {
    name: "another cell is given another history",
    machines: {
      failover: (context, input) => {
        const result = product.failover(context, input);
        if (result.kind !== "lease") return result;
        return { kind: "lease", lease: { ...result.lease, items: result.lease.items.slice(-1) } };
      },
    },
    seeds: 200,
  },
  {
    name: "an erasure leaves the items",
    machines: {
      eraseConversation: (context, scope) => {
        const kept = context.store.readItems(1, Number.MAX_SAFE_INTEGER, 1_000);
        const result = product.eraseConversation(context, scope);
        for (const item of kept) context.store.replaceItem(item);
        return result;
      },
    },
  },
  {
    name: "the watchdog sleeps",
    machines: { dueWork: () => null },
  },
];
