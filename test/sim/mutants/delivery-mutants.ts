import type { OutboxEntry } from "#shared/conversation/store.ts";
import type { StepContext } from "#shared/conversation/step.ts";
import { productMachines as product } from "../world/machines.ts";
import type { Mutant } from "./mutant.ts";

/** Throws rows of the outbox away. */
function forget({ store }: StepContext, kind: OutboxEntry["kind"]): void {
  for (const { id, entry } of store.readOutbox(1_000))
    if (entry.kind === kind) store.deleteOutbox(id);
}

/** Bugs of the outbox, the databases and the ledger. */
export const deliveryMutants: readonly Mutant[] = [
  {
    name: "the database does not check the fence",
    machines: {
      executeHistory: (tables, command) => {
        const head = tables.conversations.get(`${command.tenant}|${command.conversationId}`);
        const fence = Math.max(command.fence, head?.fence ?? 0);
        return product.executeHistory(tables, { ...command, fence });
      },
    },
    seeds: 400,
  },
  {
    name: "the database forgets that a conversation was erased",
    machines: {
      executeHistory: (tables, command) => {
        const key = `${command.tenant}|${command.conversationId}`;
        const head = tables.conversations.get(key);
        if (head?.isErased === true) tables.conversations.set(key, { ...head, isErased: false });
        return product.executeHistory(tables, command);
      },
    },
    seeds: 200,
  },
  {
    name: "usage is billed once per delivery",
    machines: {
      executeHistory: (tables, command) => {
        const known = new Set(tables.usage.keys());
        const reply = product.executeHistory(tables, command);
        if (command.kind !== "append") return reply;
        for (const row of command.usage) {
          const again = { ...row, tenant: command.tenant };
          if (known.has(row.turnId)) tables.usage.set(`${row.turnId}#${tables.usage.size}`, again);
        }
        return reply;
      },
    },
  },
  {
    name: "the outbox forgets what was not confirmed",
    machines: {
      confirmDelivery: (context, delivery, reply) =>
        product.confirmDelivery(
          context,
          delivery,
          reply.kind === "unavailable" ? { kind: "applied" } : reply,
        ),
    },
  },
  {
    name: "more is confirmed than was delivered",
    machines: {
      confirmDelivery: (context, delivery, reply) => {
        const result = product.confirmDelivery(context, delivery, reply);
        const head = context.store.readHead();
        if (result === "delivered" && head !== null && head.erasure === "none") {
          context.store.writeHead({ ...head, deliveredSeq: head.nextSeq - 1 });
        }
        return result;
      },
    },
  },
  {
    name: "a reservation is not settled by the object",
    machines: {
      nextDelivery: (context, skipped) => {
        forget(context, "settle");
        return product.nextDelivery(context, skipped);
      },
    },
  },
  {
    name: "the old region keeps a conversation that has moved",
    machines: {
      nextDelivery: (context, skipped) => {
        forget(context, "release");
        return product.nextDelivery(context, skipped);
      },
    },
    seeds: 200,
  },
  { name: "a reservation is settled each time that it is told", quirks: ["settlesTwice"] },
  { name: "a Worker gives back what a turn still uses", quirks: ["settlesUnknown"], seeds: 200 },
];
