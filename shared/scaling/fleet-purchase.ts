import { defaultAssignPolicy } from "./assign-replicas.ts";

/** How replicas are paid: by contract, by the hour, at a price that can be called back, by the second with a fast start. */
export const purchaseKinds = ["reserved", "onDemand", "spot", "burst"] as const;
export type PurchaseKind = (typeof purchaseKinds)[number];

/** Replicas that can be had. */
export interface PurchaseOffer {
  readonly name: string;
  readonly kind: PurchaseKind;
  readonly usdPerHour: number;
  /** Work of one replica in units: what the plan counts as one replica. */
  readonly unitsPerReplica: number;
  /** Quota; 0 while the provider has none. */
  readonly replicasMax: number;
}

/** What shall be bought. */
export interface PurchaseInput {
  /** Units that the plan wants. */
  readonly wantedUnits: number;
  /** Of them, units that may not be called back: work of the critical and interactive classes. */
  readonly firmUnits: number;
  /** Units that are missing right now, until what was bought has started: burst replicas bridge it. */
  readonly urgentUnits: number;
}

/** What to hold of each offer, by name; `missingUnits` cannot be had. */
export interface Purchase {
  readonly replicas: Readonly<Record<string, number>>;
  readonly missingUnits: number;
}

/** As the plan of a region has it: at most 40 % in one spot pool, and spot over three pools at least. */
const { spotPoolsMin, spotShareMax } = defaultAssignPolicy;

function pricePerUnit({ usdPerHour, unitsPerReplica }: PurchaseOffer): number {
  return usdPerHour / unitsPerReplica;
}

/** Whole replicas for so many units; what is missing by a rounding error is not bought. */
function replicasFor(units: number, { unitsPerReplica }: PurchaseOffer): number {
  return Math.max(0, Math.ceil(units / unitsPerReplica - 1e-9));
}

/**
 * The cheapest replicas for the wanted units: reserved ones are paid anyway and come first, then the cheapest by unit. Firm units
 * are never on spot, one spot pool holds at most 40 % of the rest, and none of it where there are fewer than three. What is missing right now is bridged by burst replicas on top.
 */
export function choosePurchase(
  { firmUnits, urgentUnits, wantedUnits }: PurchaseInput,
  offers: readonly PurchaseOffer[],
): Purchase {
  const replicas: Record<string, number> = Object.fromEntries(offers.map(({ name }) => [name, 0]));
  const buy = (offer: PurchaseOffer, units: number, most: number): number => {
    const held = replicas[offer.name] ?? 0;
    const count = Math.min(replicasFor(units, offer), Math.max(0, most - held));
    replicas[offer.name] = held + count;
    return count * offer.unitsPerReplica;
  };
  let reserved = 0;
  for (const offer of offers)
    if (offer.kind === "reserved") {
      replicas[offer.name] = offer.replicasMax;
      reserved += offer.replicasMax * offer.unitsPerReplica;
    }
  const others = offers
    .filter(({ kind }) => kind !== "reserved")
    .toSorted((left, right) => pricePerUnit(left) - pricePerUnit(right));
  let left = Math.max(0, wantedUnits - reserved);
  let firm = Math.min(left, Math.max(0, firmUnits - reserved));
  for (const offer of others) {
    if (offer.kind === "spot" || firm <= 0) continue;
    const bought = buy(offer, firm, offer.replicasMax);
    firm -= bought;
    left -= bought;
  }
  // Firm work that no firm offer holds waits: it does not move to spot.
  const missingFirm = Math.max(0, firm);
  left -= missingFirm;
  const loose = left;
  const isSpotCounted = offers.filter(({ kind }) => kind === "spot").length >= spotPoolsMin;
  for (const offer of others) {
    if (left <= 1e-9) break;
    const share = isSpotCounted ? replicasFor(spotShareMax * loose, offer) : 0;
    left -= buy(
      offer,
      left,
      offer.kind === "spot" ? Math.min(offer.replicasMax, share) : offer.replicasMax,
    );
  }
  let urgent = urgentUnits;
  for (const offer of others) {
    if (offer.kind !== "burst" || urgent <= 0) continue;
    urgent -= buy(offer, urgent, offer.replicasMax);
  }
  return { replicas, missingUnits: Math.max(0, left) + missingFirm };
}
