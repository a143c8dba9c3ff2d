import type { Context } from "hono";
import { GatewayError } from "#shared/errors/gateway-error.ts";
import type { ItemPage } from "#shared/conversation/rpc.ts";
import type { ItemRecord } from "#shared/protocol/internal/turn-outcome.ts";
import { parseListItemsQuery } from "#shared/protocol/openai/conversation-requests.ts";
import type { ListItemsQuery } from "#shared/protocol/openai/generation-request.ts";
import { parseItem } from "#shared/protocol/openai/items.ts";
import type { EdgeEnvironment } from "../request-facts.ts";
import { throwRefusal } from "../turns/prepared-turn.ts";

/** Query parameters of every list of items. */
export const listParameters = ["after", "limit", "order", "include", "include[]"];

/** The checked query of a list. @throws GatewayError naming the parameter. */
export function readListQuery(c: Context<EdgeEnvironment>): ListItemsQuery {
  const parsed = parseListItemsQuery(new URL(c.req.url).searchParams);
  if (!parsed.ok) throwRefusal(parsed.error);
  return parsed.request;
}

/** A page as OpenAI's lists have it. */
export function listBody(page: ItemPage) {
  return {
    object: "list",
    data: page.items.map(parseItem),
    first_id: page.items[0]?.id ?? null,
    last_id: page.items.at(-1)?.id ?? null,
    has_more: page.hasMore,
  };
}

/** One page of items that are all at hand, oldest first. @throws GatewayError when the cursor is none of them. */
export function pageOf(items: readonly ItemRecord[], query: ListItemsQuery): ItemPage {
  const ordered = query.order === "asc" ? items : items.toReversed();
  const at = query.after === null ? -1 : ordered.findIndex(({ id }) => id === query.after);
  if (query.after !== null && at === -1) {
    throw new GatewayError("invalid_request", "No item of this list has that id.", {
      param: "after",
    });
  }
  const rest = ordered.slice(at + 1);
  return { items: rest.slice(0, query.limit), hasMore: rest.length > query.limit };
}
