import type { JurisdictionDescription, Topology } from "#shared/config/topology.ts";
import type { ConversationRpc } from "#shared/conversation/rpc.ts";
import type { TenantLedgerRpc } from "#shared/budget/rpc.ts";
import { classifyPlatformFailure, isRepeatable } from "#shared/errors/platform-failure.ts";
import { invariant } from "#shared/errors/invariant.ts";
import type { Jurisdiction, TenantId } from "#shared/residency/brands.ts";
import { objectNameInput } from "#shared/residency/identifiers.ts";
import type { IdentifierPort } from "#shared/residency/identifiers.ts";
import { ObjectUnavailableError } from "../ports.ts";
import type { LedgerClient, OpenConversation } from "../ports.ts";
import { jurisdictionNamespace } from "./jurisdiction-namespace.ts";

/** Characters of an object's name: 32 of 62 letters are 190 bits of HMAC. */
const nameLength = 32;
/** Tries of a repeatable call, the first included. The runtime itself repeats what it marks retryable, up to five times. */
const triesMax = 3;

/** What the objects are reached through. */
export interface ObjectBindings {
  readonly conversations: DurableObjectNamespace;
  readonly ledgers: DurableObjectNamespace;
  readonly mode: "enforce" | "emulate";
  readonly topology: Topology;
  readonly identifiers: IdentifierPort;
}

/** Calls that may not be made twice: a second one would be told that its items are there already. */
const unrepeatable: ReadonlySet<keyof ConversationRpc> = new Set(["appendItems"]);

function describe(topology: Topology, jurisdiction: Jurisdiction): JurisdictionDescription {
  const description = topology.jurisdictions.get(jurisdiction);
  invariant(description !== undefined, "a jurisdiction of the topology");
  return description;
}

/** One call with a fresh stub per try. @throws ObjectUnavailableError when no try was answered. */
async function callObject<Stub, Result>(
  freshStub: () => Promise<Stub>,
  call: (stub: Stub) => Promise<Result>,
  tries: number,
): Promise<Result> {
  for (let left = tries - 1; ; left -= 1) {
    try {
      return await call(await freshStub());
    } catch (thrown) {
      const failure = classifyPlatformFailure(thrown);
      if (left <= 0 || !isRepeatable(failure)) throw new ObjectUnavailableError(failure, thrown);
    }
  }
}

function stubOf<Rpc>(
  bindings: ObjectBindings,
  namespace: DurableObjectNamespace,
  jurisdiction: Jurisdiction,
  nameInput: string,
): () => Promise<Rpc> {
  const pinned = jurisdictionNamespace(
    namespace,
    describe(bindings.topology, jurisdiction).objects,
    bindings.mode,
  );
  return async () => {
    const name = await bindings.identifiers.mac(nameInput, nameLength);
    // The stub's own type wraps every result in RPC types; what crosses is the contract's plain data.
    return pinned.get(pinned.idFromName(name)) as unknown as Rpc;
  };
}

type Result<Name extends keyof ConversationRpc> = Awaited<ReturnType<ConversationRpc[Name]>>;
type CallableStub<Argument, Value> = Readonly<
  Record<keyof ConversationRpc, (argument: Argument) => Promise<Value>>
>;

/** Opens Conversation objects by the HMAC of tenant, jurisdiction and the identifier's random part. */
export function createOpenConversation(bindings: ObjectBindings): OpenConversation {
  return ({ tenant, jurisdiction, conversationRandom }) => {
    const input = objectNameInput(tenant, jurisdiction, conversationRandom);
    const stub = stubOf<ConversationRpc>(bindings, bindings.conversations, jurisdiction, input);
    const forward =
      <Name extends keyof ConversationRpc>(name: Name) =>
      (argument: Parameters<ConversationRpc[Name]>[0]): Promise<Result<Name>> =>
        callObject(
          stub,
          // A stub's method is called as its member: taken out of it, even `call` would be a remote method.
          (object) =>
            (object as unknown as CallableStub<typeof argument, Result<Name>>)[name](argument),
          unrepeatable.has(name) ? 1 : triesMax,
        );
    return {
      create: forward("create"),
      describe: forward("describe"),
      updateMetadata: forward("updateMetadata"),
      erase: forward("erase"),
      listItems: forward("listItems"),
      readItem: forward("readItem"),
      appendItems: forward("appendItems"),
      deleteItem: forward("deleteItem"),
      migrate: forward("migrate"),
      readHome: forward("readHome"),
      beginTurn: forward("beginTurn"),
      checkpoint: forward("checkpoint"),
      completeTurn: forward("completeTurn"),
      failover: forward("failover"),
      cancelTurn: forward("cancelTurn"),
      readTurn: forward("readTurn"),
      readTurnInput: forward("readTurnInput"),
      readContext: forward("readContext"),
      readJournal: forward("readJournal"),
      deleteTurn: forward("deleteTurn"),
    };
  };
}

/** The text whose HMAC names a tenant's ledger; the jurisdiction in it keeps emulated jurisdictions apart. */
export function ledgerNameInput(tenant: TenantId, jurisdiction: Jurisdiction): string {
  return `ledger;v1;${jurisdiction};${tenant}`;
}

/** Calls to the TenantLedger objects; both are repeatable by their reservation id. */
export function createLedgerClient(bindings: ObjectBindings): LedgerClient {
  const stub = (tenant: TenantId, jurisdiction: Jurisdiction): (() => Promise<TenantLedgerRpc>) =>
    stubOf(bindings, bindings.ledgers, jurisdiction, ledgerNameInput(tenant, jurisdiction));
  return {
    reserve: (input) =>
      callObject(
        stub(input.tenant, input.jurisdiction),
        (object) => object.reserve(input),
        triesMax,
      ),
    settle: async (input) => {
      await callObject(
        stub(input.tenant, input.jurisdiction),
        (object) => object.settle(input),
        triesMax,
      );
    },
  };
}
