import type { RelayTurn } from "#shared/conversation/relay-state.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import type { TenantId, TurnId } from "#shared/residency/brands.ts";
import type { Process } from "../process.ts";
import { callCell } from "./calls.ts";
import { ClientBody } from "./client-body.ts";
import { cellPlans } from "./ids.ts";
import type { CellPlan } from "./ids.ts";
import { RelayRun } from "./relay-run.ts";
import type { CellAnswer, FailoverAnswer } from "./relay-run.ts";
import type { Answer } from "./worker.ts";
import { deadlineMs, relayPolicy, templateOf } from "./worker-plan.ts";
import type { World } from "./world.ts";

/** Cells that one request is offered to. */
const cellsMax = 2;
const cellHeadTimeoutMs = 10_000;

/** A streamed chat without any object; mirrors edge/turns/stateless-lane.ts without its reservation. */
export class StatelessRequest {
  readonly #world: World;
  readonly #process: Process;
  readonly #tenant: TenantId;
  readonly #text: string;
  readonly turnId: TurnId;

  constructor(world: World, process: Process, tenant: TenantId, text: string, turnId: TurnId) {
    this.#world = world;
    this.#process = process;
    this.#tenant = tenant;
    this.#text = text;
    this.turnId = turnId;
  }

  #request(deadline: number): Omit<TurnRequest, "cell" | "hop"> {
    const number = this.turnId.replace("turn_", "");
    const template = templateOf("chat", true, `chatcmpl_${number}`, number, 0);
    const messages = [{ role: "user", content: this.#text }];
    return {
      v: 1,
      turnId: this.turnId,
      lane: "stateless",
      tenant: this.#tenant,
      jurisdiction: this.#process.zone as CellPlan["zone"],
      conversationId: null,
      incarnation: 0,
      attempt: 1,
      requestId: `req_${number}`,
      priority: template.priority,
      deadlineMs: deadline,
      affinity: { homeShard: null, key: template.affinityKey },
      rendering: template.rendering,
      engine: { ...template.engine, body: { messages } },
      resume: null,
    };
  }

  /** Offers the turn to a cell, and to one other when that took nothing. */
  async #dispatch(
    request: Omit<TurnRequest, "cell" | "hop">,
    except: string | null,
  ): Promise<{ readonly answer: CellAnswer; readonly plan: CellPlan } | null> {
    const plans = cellPlans.filter(({ id, zone }) => zone === this.#process.zone && id !== except);
    const turned = this.#world.kernel.random("cells").between(0, plans.length - 1);
    let last: { readonly answer: CellAnswer; readonly plan: CellPlan } | null = null;
    const order = [...plans.slice(turned), ...plans.slice(0, turned)].slice(0, cellsMax);
    for (const [hop, plan] of order.entries()) {
      const turn: TurnRequest = { ...request, cell: plan.id, hop };
      const content = (): string => JSON.stringify(turn);
      const { id } = plan;
      const head = await callCell(
        this.#world,
        this.#process,
        id,
        "put",
        cellHeadTimeoutMs,
        content,
        (cell, sentAtMs) => cell.begin(turn, false, sentAtMs),
      );
      const answer: CellAnswer = head.ok ? head.value : { kind: "unreachable", isLate: false };
      last = { answer, plan };
      if (answer.kind === "stream" || (answer.kind === "refused" && !answer.mayMove)) return last;
    }
    return last;
  }

  async run(): Promise<Answer> {
    const request = this.#request(this.#process.now() + deadlineMs);
    const refused: Answer = {
      status: "error",
      error: { code: "no_capacity_in_jurisdiction", message: "unavailable" },
      turnRandom: null,
      text: null,
      body: null,
    };
    const first = await this.#dispatch(request, null);
    if (first?.answer.kind !== "stream") return refused;
    const body = new ClientBody(this.#world, this.#process, true);
    const turnOf = (attempt: number, { id, region }: CellPlan): RelayTurn => ({
      turnId: this.turnId,
      attempt,
      cell: id,
      region,
    });
    const run = new RelayRun(this.#world, this.#process, {
      lane: "stateless",
      isStreamed: true,
      turn: turnOf(1, first.plan),
      policy: { ...relayPolicy("chat"), checkpointIntervalMs: 0, checkpointBytes: 0 },
      deadlineMs: request.deadlineMs,
      write: (bytes) => body.write(bytes),
      checkpoint: () => Promise.resolve("failed"),
      complete: () => Promise.resolve("failed"),
      reattach: () => Promise.resolve({ kind: "unreachable", isLate: false }),
      failover: async (
        turn,
        { given, segment: _segment, reason: _reason, continuations, ...rest },
      ): Promise<FailoverAnswer> => {
        const attempt = turn.attempt + 1;
        const resume =
          given === null
            ? null
            : { ...rest, frames: given.text, toSeq: given.toSeq, continuations: continuations + 1 };
        const moved = await this.#dispatch({ ...request, attempt, resume }, turn.cell);
        if (moved === null) {
          return { kind: "stopped", error: { code: "interrupted", message: "interrupted" } };
        }
        const { answer, plan } = moved;
        return { kind: "moved", turn: turnOf(attempt, plan), givenSeq: resume?.toSeq ?? 0, answer };
      },
    });
    body.onClose(() => run.clientGone());
    run.take(first.answer);
    void run.done.then(() => body.end());
    await run.begun;
    return run.hasBegun
      ? { status: "ok", error: null, turnRandom: this.turnId, text: null, body }
      : refused;
  }
}
