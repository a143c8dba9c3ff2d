import type {
  AbilitySource,
  EngineAbilities,
  KnownAbilities,
  StatedAbilities,
} from "#shared/config/engine-abilities.ts";
import { identityOf, nextQuestion, readFindings } from "#shared/engines/probe.ts";
import type { ProbeAnswer, ProbeAnswers } from "#shared/engines/probe-answer.ts";
import type { Question } from "#shared/engines/probe-question.ts";
import { knownWithoutProbe, settleAbilities } from "#shared/engines/settle-abilities.ts";
import type { Clock } from "../ports/clock.ts";

/** How long it is believed that a server is still the one that was asked, ms: a redeployed one may be another version. */
const believedMs = 300_000;
/** How soon a server that does not list its models is asked again, ms. */
const retryMs = 10_000;
/** Least time between two probes of one server, ms: each has up to twenty tokens generated. */
const probePeriodMs = 60_000;
/** How long a prompt waits for the first probe, ms: without a salt it would share cached prefixes with other tenants. */
const waitMsMax = 4_000;

/** What became of a probe, for the log. */
export interface ProbeReport {
  readonly source: Exclude<AbilitySource, "stated">;
  readonly abilities: EngineAbilities;
}

/** What a shard's server can do, found out by asking it. */
export interface Capabilities {
  /**
   * What the server can do. Waits, at most 4 s, while it is not known whether the server is the one that was asked last;
   * after that only what is proven is used.
   */
  current(): Promise<EngineAbilities>;
  /** What is known without waiting. */
  known(): KnownAbilities;
  /** The server's health was asked: one that comes back is probed again. Never rejects; resolves when nothing is asked. */
  seen(isAlive: boolean): Promise<void>;
  /**
   * A whole answer had no usage: the server is not taken to tell any until a probe, once a minute at the most, has shown that it does.
   * What the topology states stands.
   */
  missedUsage(): void;
  /** The server refused what it was thought to know: it is probed again, once a minute at the most. */
  doubt(): void;
}

export interface CapabilitiesOptions {
  /** From the topology; what is stated is not asked for. */
  readonly stated: StatedAbilities;
  readonly engineModel: string;
  /** Null when no answer came within the asker's time. Never rejects. */
  readonly ask: (question: Question) => Promise<ProbeAnswer | null>;
  readonly clock: Clock;
  /** Told when a probe found something else than the one before. */
  readonly onReport: (report: ProbeReport) => void;
}

/** Asks one server, one question at a time. Findings hold for the server that gave them, as its model list and version tell it. */
export function createCapabilities(options: CapabilitiesOptions): Capabilities {
  const { ask, clock, engineModel, onReport, stated } = options;
  let known = knownWithoutProbe(stated);
  const isStated = known.source === "stated";
  let identity: string | null = null;
  let isSure = isStated;
  /** Resolves when it is next known who answers. */
  let sure = Promise.withResolvers<void>();
  let isAlive = false;
  let askDueAtMs = 0;
  let probeDueAtMs = 0;
  let probedAtMs = Number.NEGATIVE_INFINITY;
  let asking: Promise<void> | null = null;
  let reported = "";

  function setSure(isNow: boolean): void {
    if (isNow) sure.resolve();
    else if (isSure) sure = Promise.withResolvers<void>();
    isSure = isNow;
  }

  function settle(next: KnownAbilities): void {
    known = next;
    const { abilities, source } = next;
    const text = JSON.stringify(next);
    if (source === "stated" || text === reported) return;
    reported = text;
    onReport({ abilities, source });
  }

  /** Asks who answers, and when that is another server than before, or a probe is due, what it can do. */
  async function askAll(): Promise<void> {
    let answers: ProbeAnswers = {};
    for (;;) {
      const question = nextQuestion(answers, engineModel, stated);
      if (question === null) break;
      if (question.body !== null && !isProbeDue(answers)) {
        askDueAtMs = Math.min(clock.nowMs() + believedMs, probeDueAtMs);
        return;
      }
      answers = { ...answers, [question.id]: await ask(question) };
    }
    conclude(answers);
  }

  function isProbeDue(answers: ProbeAnswers): boolean {
    // What this server proved holds while it is asked again; what another one proved is nothing.
    setSure(identityOf(answers, engineModel) === identity);
    if (isSure) return clock.nowMs() >= probeDueAtMs;
    known = knownWithoutProbe(stated);
    return true;
  }

  function conclude(answers: ProbeAnswers): void {
    const nowMs = clock.nowMs();
    const found = identityOf(answers, engineModel);
    if (found === null) {
      askDueAtMs = nowMs + retryMs;
      if (identity === null) settle(known);
      return;
    }
    const before = found === identity ? known.abilities : undefined;
    identity = found;
    settle(settleAbilities(readFindings(answers, stated), stated, before));
    setSure(true);
    probedAtMs = nowMs;
    const isWhole = known.source === "probed";
    probeDueAtMs = isWhole ? Number.POSITIVE_INFINITY : nowMs + probePeriodMs;
    askDueAtMs = isWhole ? nowMs + believedMs : probeDueAtMs;
  }

  function refresh(): Promise<void> {
    if (asking !== null) return asking;
    if (isStated || clock.nowMs() < askDueAtMs) return Promise.resolve();
    asking = askAll().finally(() => {
      asking = null;
    });
    return asking;
  }

  /** Probes again as soon as the last probe is old enough; whether it is the same server is asked at once. */
  function askAgain(): void {
    askDueAtMs = 0;
    probeDueAtMs = Math.min(probeDueAtMs, probedAtMs + probePeriodMs);
  }

  return {
    async current() {
      const asked = refresh();
      if (!isSure) await within(Promise.race([asked, sure.promise]), waitMsMax, clock);
      return known.abilities;
    },
    known: () => known,
    seen(isAliveNow) {
      const isBack = isAliveNow && !isAlive;
      isAlive = isAliveNow;
      if (!isAliveNow) return Promise.resolve();
      if (isBack && !isStated) {
        setSure(false);
        askAgain();
      }
      return refresh();
    },
    missedUsage() {
      const { abilities, source } = known;
      if (stated.usageInStream !== undefined || !abilities.usageInStream) return;
      settle({
        abilities: { ...abilities, usageInStream: false },
        source: source === "probed" ? "partly" : source,
      });
      askAgain();
      void refresh();
    },
    doubt() {
      askAgain();
      void refresh();
    },
  };
}

/** Resolves with `promise`, or after `timeoutMs`. */
async function within(promise: Promise<void>, timeoutMs: number, clock: Clock): Promise<void> {
  const late = Promise.withResolvers<void>();
  const stop = clock.after(timeoutMs, () => late.resolve());
  await Promise.race([promise, late.promise]);
  stop();
}
