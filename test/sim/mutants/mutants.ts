import { productMachines } from "../world/machines.ts";
import type { Mutant } from "./mutant.ts";

const product = productMachines;

/** Seeded bugs. Each is one that somebody could write, and breaks one promise. */
export const mutants: readonly Mutant[] = [
  {
    name: "the database does not check the fence",
    machines: {
      executeHistory: (tables, command) =>
        product.executeHistory(tables, { ...command, fence: 1e9 }),
    },
  },
  { name: "the object answers before its write is durable", quirks: ["noOutputGate"] },
  { name: "the incarnation is not raised", quirks: ["incarnationNotRaised"] },
  {
    name: "the terminal frame is not held",
    machines: {
      stepRelay: (state, event, nowMs, policy) => {
        const step = product.stepRelay(state, event, nowMs, policy);
        if (state.lane !== "durable" || event.kind !== "frames" || state.outcome === null)
          return step;
        return { ...step, effects: [...step.effects, { kind: "write", bytes: event.bytes }] };
      },
    },
  },
  {
    name: "the key is not compared with its body",
    machines: {
      beginTurn: (context, input) => {
        const { idempotency } = input;
        const known = idempotency === null ? null : context.store.readIdempotency(idempotency.key);
        return product.beginTurn(
          context,
          known === null || idempotency === null
            ? input
            : { ...input, idempotency: { ...idempotency, bodySha256: known.bodySha256 } },
        );
      },
    },
  },
];
