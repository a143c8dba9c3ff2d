import { composeEngineBody, composeTurnRequest } from "#shared/conversation/compose-turn.ts";
import type { FenceAnswer, RelayTurn } from "#shared/conversation/relay-state.ts";
import type {
  BeginTurnInput,
  BeginTurnResult,
  FenceReply,
  TurnLease,
} from "#shared/conversation/rpc.ts";
import type { StepContext } from "#shared/conversation/step.ts";
import type { ErrorOutcome } from "#shared/errors/gateway-error.ts";
import type { Usage } from "#shared/protocol/usage.ts";
import type { Process } from "../process.ts";
import { callCell, callObject } from "./calls.ts";
import { ClientBody } from "./client-body.ts";
import { cellPlans, modelId, randomPart, turnIdOf } from "./ids.ts";
import { readStream } from "./read-stream.ts";
import { RelayRun } from "./relay-run.ts";
import type { CellAnswer, FailoverAnswer, RelayParts } from "./relay-run.ts";
import type { ObjectNode } from "./object-node.ts";
import { deadlineMs, relayPolicy, simModel, templateOf } from "./worker-plan.ts";
import type { World } from "./world.ts";

/** What a client asks. */
export interface ChatRequest {
  readonly object: ObjectNode;
  readonly api: "chat" | "responses";
  readonly stream: boolean;
  readonly isBackground: boolean;
  readonly key: string | null;
  readonly body: string;
  /** Unique text of the message. */
  readonly text: string;
}

/** The head of the answer; `body` opens what follows. */
export interface Answer {
  readonly status: "ok" | "error";
  readonly error: ErrorOutcome | null;
  readonly turnRandom: string | null;
  readonly text: string | null;
  readonly body: ClientBody | null;
}

const unavailable: ErrorOutcome = { code: "no_capacity_in_jurisdiction", message: "unavailable" };
const cellHeadTimeoutMs = 10_000;
const reattachTimeoutMs = 2_000;

function refusal(error: ErrorOutcome, turnRandom: string | null = null): Answer {
  return { status: "error", error, turnRandom, text: null, body: null };
}

/** One request in a Worker, from its head to its end; mirrors edge/turns/durable-lane.ts. */
export class DurableRequest {
  readonly #world: World;
  readonly #process: Process;
  readonly #request: ChatRequest;
  readonly #turnRandom: string;
  readonly #requestId: string;

  constructor(world: World, process: Process, request: ChatRequest) {
    this.#world = world;
    this.#process = process;
    this.#request = request;
    const number = world.nextNumber();
    this.#turnRandom = randomPart("t", number, 12);
    this.#requestId = `req_${number}`;
  }

  #object<Value>(
    kind: string,
    content: unknown,
    run: (node: ObjectNode) => Promise<Value>,
  ): Promise<Value | null> {
    const { object } = this.#request;
    return callObject(this.#world, this.#process, {
      name: object.name,
      zone: object.zone,
      kind,
      open: () => object.open(),
      content: () => JSON.stringify(content),
      handle: () => run(object),
    });
  }

  async #settle(usage: Usage | null): Promise<void> {
    const { object } = this.#request;
    const node = this.#world.ledgerOf(object.zone, object.tenant);
    const tokens = usage === null ? 0 : usage.promptTokens + usage.completionTokens;
    const reservationId = turnIdOf(object.zone, object.conversationRandom, this.#turnRandom);
    await callObject(this.#world, this.#process, {
      name: node.name,
      zone: object.zone,
      kind: "settle",
      open: () => node.process,
      content: () => "",
      handle: () => node.settle({ reservationId, used: { tokens, costMicroUsd: tokens } }),
    });
  }

  async #reserve(turnId: string, deadline: number): Promise<ErrorOutcome | null> {
    const { object } = this.#request;
    const node = this.#world.ledgerOf(object.zone, object.tenant);
    const result = await callObject(this.#world, this.#process, {
      name: node.name,
      zone: object.zone,
      kind: "reserve",
      open: () => node.process,
      content: () => "",
      handle: () =>
        node.reserve({
          tenant: object.tenant,
          jurisdiction: object.zone,
          reservationId: turnId,
          tokens: 4_106,
          costMicroUsd: 4_106,
          keyId: "default",
          limits: {
            tenant: { budgetMicroUsdPerMonth: 1_000_000_000, concurrentRequestsMax: 5_000 },
            key: { concurrentRequestsMax: 5_000 },
          },
          expiresAtMs: deadline + 60_000,
        }),
    });
    if (result === null) return unavailable;
    return result.kind === "refused" ? result.error : null;
  }

  async run(): Promise<Answer> {
    const { machines, quirks } = this.#world;
    const { object, api, stream, isBackground, key, body, text } = this.#request;
    const turnId = turnIdOf(object.zone, object.conversationRandom, this.#turnRandom);
    const deadline = this.#process.now() + deadlineMs;
    const refused = await this.#reserve(turnId, deadline);
    if (refused !== null) return refusal(refused);
    const stem = `${object.conversationRandom}${this.#turnRandom}`;
    const item = {
      id: `msg_${stem}_u`,
      type: "message",
      json: JSON.stringify({
        id: `msg_${stem}_u`,
        type: "message",
        role: "user",
        content: [{ type: "input_text", text }],
      }),
    };
    const publicId = `${api === "chat" ? "chatcmpl" : "resp"}_${this.#turnRandom}`;
    const zone = quirks.has("edgePicksForeignCell") ? "us" : object.zone;
    const input: BeginTurnInput = {
      scope: object.scope(this.#requestId),
      turnId,
      turnRandom: this.#turnRandom,
      idempotency: key === null ? null : { key, bodySha256: body },
      mode: "create",
      parentTurnRandom: null,
      seedItems: [],
      newItems: [item],
      template: templateOf(api, stream, publicId, stem, Math.floor(this.#process.now() / 1000)),
      isStored: true,
      streamsKeptMs: 86_400_000,
      isBackground,
      reservationId: turnId,
      deadlineMs: deadline,
      cells: this.#cells(zone),
    };
    const begun = await this.#object<BeginTurnResult>("beginTurn", input, (node) =>
      node.instance === null
        ? Promise.reject(new Error("gone"))
        : node.instance.call((context) => machines.beginTurn(context, input)),
    );
    // Whether the turn was begun is not known: its object settles it, or the reservation expires.
    if (begun === null) {
      if (quirks.has("settlesUnknown")) void this.#settle(null);
      return refusal(unavailable);
    }
    switch (begun.kind) {
      case "lease":
        return this.#relay(begun.lease, input);
      case "background":
      case "replay": {
        const { turn } = begun;
        if (turn.turnId !== turnId) {
          this.#world.recorder.sometimes("a request was answered by the turn of its key");
          void this.#settle(null);
        }
        if (turn.isBackground) {
          return { status: "ok", error: null, turnRandom: turn.turnRandom, text: null, body: null };
        }
        return readStream(this.#world, this.#process, object, turn.turnRandom, 0);
      }
      case "refused":
        void this.#settle(null);
        this.#world.recorder.sometimes(
          "a conversation was locked",
          begun.error.code === "conversation_locked",
        );
        return refusal(begun.error);
      case "fork":
        return refusal(unavailable);
    }
  }

  /** The cells of a jurisdiction in an order of this request. */
  #cells(zone: string): TurnLease["cell"][] {
    const cells = cellPlans.filter((plan) => plan.zone === zone).map(({ id }) => id);
    const turned = this.#world.kernel.random("cells").between(0, cells.length - 1);
    return [...cells.slice(turned), ...cells.slice(0, turned)];
  }

  #relayTurn(lease: TurnLease): RelayTurn {
    const region = cellPlans.find(({ id }) => id === lease.cell)?.region ?? cellPlans[0]?.region;
    return {
      turnId: lease.turnId,
      attempt: lease.attempt,
      cell: lease.cell,
      region: region as RelayTurn["region"],
    };
  }

  async #dispatch(lease: TurnLease, input: BeginTurnInput): Promise<CellAnswer> {
    const { template, scope } = input;
    const engine = composeEngineBody(template, lease.items, simModel);
    if (!engine.ok) return { kind: "refused", error: engine.error, mayMove: false };
    const request = composeTurnRequest(template, lease, scope, engine);
    const content = (): string => JSON.stringify(request);
    const head = await callCell(
      this.#world,
      this.#process,
      lease.cell,
      "put",
      cellHeadTimeoutMs,
      content,
      (cell, sentAtMs) => cell.begin(request, false, sentAtMs),
    );
    if (head.ok) return head.value;
    return { kind: "unreachable", isLate: this.#process.now() >= lease.deadlineMs };
  }

  /** A call that names its attempt; its sink is watched from outside. */
  async #fenced(
    kind: string,
    content: unknown,
    { attempt }: RelayTurn,
    run: (context: StepContext) => FenceReply,
  ): Promise<FenceAnswer> {
    const { recorder } = this.#world;
    const reply = await this.#object<FenceReply>(kind, content, (node) =>
      node.instance === null
        ? Promise.reject(new Error("gone"))
        : node.instance.call((context) => {
            const before = context.store.readTurn(this.#turnRandom);
            const answer = run(context);
            const isTaken = answer.kind === "ok" && before?.state === "running";
            recorder.expect(
              !isTaken || before.attempt === attempt,
              "I-15",
              () => `${node.name}: ${kind} of attempt ${attempt} was taken in ${before?.attempt}`,
            );
            return answer;
          }),
    );
    return reply === null ? "failed" : reply.kind;
  }

  #acknowledge({ turnId, attempt, cell }: RelayTurn, seq: number): void {
    void callCell(
      this.#world,
      this.#process,
      cell,
      "acknowledge",
      2_000,
      () => "",
      (node) => node.acknowledge(turnId, attempt, seq),
    );
  }

  #parts(lease: TurnLease, input: BeginTurnInput, write: (bytes: Uint8Array) => void): RelayParts {
    const { machines } = this.#world;
    const { scope, cells } = input;
    return {
      lane: "durable",
      isStreamed: this.#request.stream,
      turn: this.#relayTurn(lease),
      policy: relayPolicy(this.#request.api),
      deadlineMs: lease.deadlineMs,
      write,
      checkpoint: async (turn, segment) => {
        const { turnId, attempt } = turn;
        const reply = await this.#fenced("checkpoint", segment, turn, (context) =>
          machines.checkpoint(context, { scope, turnId, attempt, segment }),
        );
        if (reply === "ok") this.#acknowledge(turn, segment.toSeq);
        this.#world.recorder.sometimes("a checkpoint was superseded", reply === "superseded");
        return reply;
      },
      complete: async (turn, segment, outcome) => {
        const { turnId, attempt } = turn;
        const reply = await this.#fenced("completeTurn", { segment, outcome }, turn, (context) =>
          machines.completeTurn(context, { scope, turnId, attempt, segment, outcome }),
        );
        if (reply === "ok" && segment !== null) this.#acknowledge(turn, segment.toSeq);
        return reply;
      },
      failover: async (turn, { given: _given, ...wish }): Promise<FailoverAnswer> => {
        const { turnId, attempt } = turn;
        const failoverInput = { ...wish, scope, turnId, attempt, cells };
        const result = await this.#object("failover", failoverInput, (node) =>
          node.instance === null
            ? Promise.reject(new Error("gone"))
            : node.instance.call((context) => machines.failover(context, failoverInput)),
        );
        if (result === null) return { kind: "stopped", error: unavailable };
        if (result.kind === "superseded") return { kind: "stopped", error: null };
        if (result.kind === "stop") return { kind: "stopped", error: result.error };
        const answer = await this.#dispatch(result.lease, input);
        const givenSeq = result.lease.resume?.toSeq ?? 0;
        return { kind: "moved", turn: this.#relayTurn(result.lease), givenSeq, answer };
      },
      reattach: async ({ turnId, attempt, cell }, afterSeq) => {
        const head = await callCell(
          this.#world,
          this.#process,
          cell,
          "frames",
          reattachTimeoutMs,
          () => "",
          (node, sentAtMs) => node.follow(turnId, attempt, afterSeq, sentAtMs),
        );
        return head.ok ? head.value : { kind: "unreachable", isLate: false };
      },
    };
  }

  async #relay(lease: TurnLease, input: BeginTurnInput): Promise<Answer> {
    const body = new ClientBody(this.#world, this.#process, true);
    const run = new RelayRun(
      this.#world,
      this.#process,
      this.#parts(lease, input, (bytes) => body.write(bytes)),
    );
    body.onClose(() => run.clientGone());
    const whole = (async () => {
      run.take(await this.#dispatch(lease, input));
      const end = await run.done;
      if (end.outcome !== null) void this.#settle(end.outcome.usage);
      body.end();
      return end;
    })();
    await Promise.race([run.begun, whole]);
    const turnRandom = this.#turnRandom;
    if (run.hasBegun) return { status: "ok", error: null, turnRandom, text: null, body };
    const { outcome, error } = await whole;
    if (error !== null || outcome === null || outcome.body === null) {
      return refusal(error ?? unavailable, turnRandom);
    }
    return { status: "ok", error: null, turnRandom, text: outcome.body, body: null };
  }
}

/** Tokens that a turn with the model is reserved for. */
export const reservedModel = modelId;
