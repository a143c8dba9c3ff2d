/** Types that must never be swapped for one another. Made only by the parsers of their module. */
declare const brand: unique symbol;

type Branded<Name extends string> = string & { readonly [brand]: Name };

/** A legal residency area, as named in the topology (`eu`). Decided once per request, from trusted input. */
export type Jurisdiction = Branded<"Jurisdiction">;
/** A deployment place inside a jurisdiction (`eu-west-1`). */
export type RegionId = Branded<"RegionId">;
/** One dispatcher and its shards (`eu-west-1a`). */
export type CellId = Branded<"CellId">;
/** One isolated deployment of one model (`eu-west-1a/llama-0`). */
export type ShardId = Branded<"ShardId">;
/** A customer of the gateway, as named in the topology. */
export type TenantId = Branded<"TenantId">;
/** `conv_<jurisdiction>_<tenantTag>_<random>_<mac>`. */
export type ConversationId = Branded<"ConversationId">;
/** `turn_<jurisdiction>_<tenantTag>_<random>_<mac>`: one request with its answer. */
export type TurnId = Branded<"TurnId">;
