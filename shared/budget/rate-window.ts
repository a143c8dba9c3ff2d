/** Length of the rate windows, ms. */
export const windowMs = 60_000;
/** Admissions within this time share a slot, ms: at most 61 slots are kept. */
const slotMs = 1_000;

/** What was admitted in about a second. It leaves the window 60 s after the last admission in it. */
interface WindowSlot {
  /** The numbers of the admissions' slots that it holds: several once a clock went back over them. */
  readonly fromSlot: number;
  readonly toSlot: number;
  readonly fromMs: number;
  readonly lastMs: number;
  readonly requests: number;
  readonly tokens: number;
}

/**
 * Requests and tokens of the last 60 s, oldest first. A sliding window and no bucket: no 60 s ever hold more than the
 * quota, where a bucket of a minute's quota admits nearly two of them.
 */
export interface RateWindow {
  /** Numbers are never used twice, so that a late settlement cannot hit somebody else's slot. */
  readonly nextSlot: number;
  readonly slots: readonly WindowSlot[];
}

/** A window in which nothing was admitted. */
export const emptyWindow: RateWindow = { nextSlot: 0, slots: [] };

/** Requests and tokens, used or asked for. */
export interface RateAmounts {
  readonly requests: number;
  readonly tokens: number;
}

/** Slots that lie in the future, since the clock went back, as one of the present: they stay as long as any can. */
function clip(slots: readonly WindowSlot[], nowMs: number): readonly WindowSlot[] {
  const index = slots.findIndex(({ lastMs }) => lastMs > nowMs);
  const [first] = slots.slice(index);
  if (index === -1 || first === undefined) return slots;
  const merged = slots.slice(index).reduce((sum, { toSlot, requests, tokens }) => ({
    ...sum,
    toSlot,
    requests: sum.requests + requests,
    tokens: sum.tokens + tokens,
  }));
  return [
    ...slots.slice(0, index),
    { ...merged, fromMs: Math.min(first.fromMs, nowMs), lastMs: nowMs },
  ];
}

/** The window as it is at `nowMs`. A clock that went back takes nothing out of it. */
export function viewWindow({ nextSlot, slots }: RateWindow, nowMs: number): RateWindow {
  const kept = slots.filter(({ lastMs }) => lastMs + windowMs > nowMs);
  return { nextSlot, slots: clip(kept, nowMs) };
}

/** What a viewed window holds. */
export function usedIn({ slots }: RateWindow): RateAmounts {
  return slots.reduce(
    (sum, { requests, tokens }) => ({
      requests: sum.requests + requests,
      tokens: sum.tokens + tokens,
    }),
    { requests: 0, tokens: 0 },
  );
}

/** Counts an admission; `slot` is where {@link adjustTokens} finds its tokens. The window must be viewed at `nowMs`. */
export function admitTo(
  { nextSlot, slots }: RateWindow,
  amounts: RateAmounts,
  nowMs: number,
): { readonly window: RateWindow; readonly slot: number } {
  const last = slots.at(-1);
  if (last !== undefined && nowMs < last.fromMs + slotMs) {
    const counted = {
      ...last,
      lastMs: nowMs,
      requests: last.requests + amounts.requests,
      tokens: last.tokens + amounts.tokens,
    };
    return { window: { nextSlot, slots: [...slots.slice(0, -1), counted] }, slot: last.toSlot };
  }
  const added = { fromSlot: nextSlot, toSlot: nextSlot, fromMs: nowMs, lastMs: nowMs, ...amounts };
  return { window: { nextSlot: nextSlot + 1, slots: [...slots, added] }, slot: nextSlot };
}

/** Adds `tokens`, which may be negative, where they were admitted; nothing when that has left the window. */
export function adjustTokens(window: RateWindow, slot: number, tokens: number): RateWindow {
  const slots = window.slots.map((each) =>
    each.fromSlot <= slot && slot <= each.toSlot
      ? { ...each, tokens: Math.max(0, each.tokens + tokens) }
      : each,
  );
  return { ...window, slots };
}

/** Time until `needed` more fit under `quota`, ms: 0 when they do, the whole window when they never will. */
export function msUntilFits(
  { slots }: RateWindow,
  unit: keyof RateAmounts,
  needed: number,
  quota: number,
  nowMs: number,
): number {
  let used = slots.reduce((sum, slot) => sum + slot[unit], 0);
  if (used + needed <= quota) return 0;
  for (const slot of slots) {
    used -= slot[unit];
    if (used + needed <= quota) return slot.lastMs + windowMs - nowMs;
  }
  return windowMs;
}

/** Time until nothing that was admitted counts any longer, ms. */
export function msUntilEmpty({ slots }: RateWindow, nowMs: number): number {
  const last = slots.at(-1);
  return last === undefined ? 0 : last.lastMs + windowMs - nowMs;
}
