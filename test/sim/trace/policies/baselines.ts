import { hash64, unitOf } from "#shared/routing/hash.ts";
import { uncachedTokens } from "#shared/routing/shard-state.ts";
import type { ShardState } from "#shared/routing/shard-state.ts";
import type { PolicyQuestion, RoutingPolicy } from "./policy.ts";

function at({ shards }: PolicyQuestion, index: number): ShardState {
  const state = shards[index];
  if (state === undefined)
    throw new RangeError(`shard ${index}: got none, wanted one of ${shards.length}`);
  return state;
}

function choosing(
  choose: (question: PolicyQuestion, random: () => number) => number,
): RoutingPolicy {
  return { choose: (question, random) => ({ index: choose(question, random), reason: "best" }) };
}

function draw(indices: readonly number[], random: () => number): number {
  return indices[Math.floor(random() * indices.length)] ?? 0;
}

/** The index of the least value; equals drawn. */
function leastOf(
  indices: readonly number[],
  random: () => number,
  valueOf: (index: number) => number,
): number {
  let best = Infinity;
  let equals: number[] = [];
  for (const index of indices) {
    const value = valueOf(index);
    if (value < best) [best, equals] = [value, [index]];
    else if (value === best) equals.push(index);
  }
  return equals.length === 1 ? (equals[0] ?? 0) : draw(equals, random);
}

/** One after the other. */
export function roundRobin(): RoutingPolicy {
  let turn = 0;
  return choosing(({ eligible }) => eligible[turn++ % eligible.length] ?? 0);
}

/** Any of them. */
export function randomChoice(): RoutingPolicy {
  return choosing(({ eligible }, random) => draw(eligible, random));
}

/** Fewest requests in flight, whatever the hardware. */
export function leastRequests(): RoutingPolicy {
  return choosing((question, random) =>
    leastOf(question.eligible, random, (index) => at(question, index).inFlight),
  );
}

/** The one of two drawn with fewer requests in flight (Mitzenmacher 2001). */
export function powerOfTwo(): RoutingPolicy {
  return choosing((question, random) => {
    const first = draw(question.eligible, random);
    const second = draw(question.eligible, random);
    return at(question, second).inFlight < at(question, first).inFlight ? second : first;
  });
}

/** Positions by rendezvous on the affinity key, best first: what a ring with many points does, without its unevenness. */
function byKey(question: PolicyQuestion, random: () => number): readonly number[] {
  const { affinityKey } = question.prompt;
  const key = hash64(affinityKey === "" ? `${random()}` : affinityKey);
  return question.eligible
    .map((index) => ({ index, score: unitOf(hash64(at(question, index).id, key)) }))
    .toSorted((left, right) => right.score - left.score)
    .map(({ index }) => index);
}

/** Always the key's first. */
export function consistentHash(): RoutingPolicy {
  return choosing((question, random) => byKey(question, random)[0] ?? 0);
}

/** The key's first that has at most 1.25 × its share of the requests (Mirrokni 2016; ε = 0.25 is Vimeo's). */
export function boundedLoad(): RoutingPolicy {
  return choosing((question, random) => {
    const total = question.eligible.reduce((sum, index) => sum + at(question, index).inFlight, 0);
    const bound = Math.ceil((1.25 * (total + 1)) / question.eligible.length);
    const ranked = byKey(question, random);
    return ranked.find((index) => at(question, index).inFlight < bound) ?? ranked[0] ?? 0;
  });
}

/**
 * SGLang's router, `cache_aware` with its defaults: when the fleet is uneven (most − least > 64 and most > 1.5 × least) the
 * fewest requests; else the longest known prefix if it is more than 0.3 of the prompt; else the shard that holds least, here
 * the one with the fewest requests.
 */
export function cacheAware(): RoutingPolicy {
  return choosing((question, random) => {
    const { eligible, cachedTokens, prompt } = question;
    const loads = eligible.map((index) => at(question, index).inFlight);
    const [most, least] = [Math.max(...loads), Math.min(...loads)];
    const byLoad = (): number => leastOf(eligible, random, (index) => at(question, index).inFlight);
    if (most - least > 64 && most > 1.5 * least) return byLoad();
    const longest = Math.max(...eligible.map((index) => cachedTokens[index] ?? 0));
    if (longest / prompt.inputTokens <= 0.3) return byLoad();
    return leastOf(eligible, random, (index) => -(cachedTokens[index] ?? 0));
  });
}

function newPrefillTimesBatch(question: PolicyQuestion, index: number, state: ShardState): number {
  const own = uncachedTokens(question.prompt, question.cachedTokens[index] ?? 0);
  return (state.pendingPrefillTokens + own) * (state.inFlight + 1);
}

/** LMetric (arXiv 2603.15202): least `new prefill tokens × (batch + 1)`, the queue's prefill counted as new; no knobs. */
export function lmetric(): RoutingPolicy {
  return choosing((question, random) =>
    leastOf(question.eligible, random, (index) =>
      newPrefillTimesBatch(question, index, at(question, index)),
    ),
  );
}

/** LMetric in seconds, for fleets of unequal hardware: divided by the shard's prefill speed. */
export function lmetricBySpeed(): RoutingPolicy {
  return choosing((question, random) =>
    leastOf(question.eligible, random, (index) => {
      const state = at(question, index);
      return newPrefillTimesBatch(question, index, state) / state.speed.prefillTokensPerSecond;
    }),
  );
}
