import { productMachines as product } from "../world/machines.ts";
import type { Mutant } from "./mutant.ts";

const done = new TextEncoder().encode("data: [DONE]\n\n");

/** Bugs on the way of a stream: relay, cell, readers. */
export const streamMutants: readonly Mutant[] = [
  {
    name: "the terminal frame is not held",
    machines: {
      stepRelay: (state, event, nowMs, policy) => {
        const step = product.stepRelay(state, event, nowMs, policy);
        const isTerminal = event.kind === "frames" && state.outcome !== null;
        if (!isTerminal) return step;
        return { ...step, effects: [...step.effects, { kind: "write", bytes: event.bytes }] };
      },
    },
  },
  {
    name: "an end without an outcome is taken for a whole answer",
    machines: {
      stepRelay: (state, event, nowMs, policy) => {
        if (event.kind !== "ended" || state.outcome !== null || state.phase !== "running") {
          return product.stepRelay(state, event, nowMs, policy);
        }
        return {
          state: { ...state, phase: "finished" },
          effects: [
            { kind: "write", bytes: done },
            { kind: "finish", outcome: null, error: null },
          ],
        };
      },
    },
  },
  {
    name: "a superseded Worker goes on",
    machines: {
      stepRelay: (state, event, nowMs, policy) => {
        const isFenced =
          (event.kind === "completed" || event.kind === "checkpointed") && event.reply !== "ok";
        return product.stepRelay(
          state,
          isFenced ? { ...event, reply: "ok" } : event,
          nowMs,
          policy,
        );
      },
    },
    seeds: 200,
  },
  {
    name: "a turn that is delivered twice starts twice",
    machines: {
      createTurnRegistry: (options) => {
        let registry = product.createTurnRegistry(options);
        return {
          ...registry,
          begin: (request, traceparent) => {
            const reply = registry.begin(request, traceparent);
            if (reply.kind !== "joined") return reply;
            reply.turn.abort(null);
            registry = product.createTurnRegistry(options);
            return registry.begin(request, traceparent);
          },
        };
      },
    },
  },
  { name: "a reader that comes back misses a frame", quirks: ["resumeSkipsFrame"] },
  { name: "a reader past a restart is not told", quirks: ["readerIgnoresRestart"], seeds: 400 },
  {
    name: "a reader past the error that ended its turn is told nothing",
    quirks: ["failedTurnEndsSilently"],
    seeds: 600,
  },
  { name: "a slot of a shard is not given back", quirks: ["slotLeaks"] },
  {
    name: "a Worker picks a cell of another jurisdiction",
    quirks: ["edgePicksForeignCell", "cellTakesForeign"],
  },
];
