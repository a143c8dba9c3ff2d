import { createOpenAiCompatible } from "./openai-compatible.ts";
import type { OpenAiCompatibleOptions } from "./openai-compatible.ts";
import type { Engine } from "../ports/engine.ts";

export interface ModalOptions extends Omit<
  OpenAiCompatibleOptions,
  "credentials" | "stickiness" | "isCold" | "onLoad"
> {
  /** Id and secret of a proxy auth token. */
  readonly key: string;
  readonly secret: string;
  /** The name of a conversation for Modal's router, keyed, so that it tells nothing of the conversation. */
  readonly prefixId: (tenant: string, affinityKey: string) => string;
}

/**
 * An OpenAI-compatible engine behind a Modal Server. Proxy auth refuses a call before a container starts; a conversation's
 * calls name one session, which Modal routes to one container where it can. A call that meets no container in time is
 * answered with a redirect to a place where its result can be asked for (303 with `__modal_function_call_id`; Modal's guide,
 * "Request timeouts"): the shard is cold. Where its traffic is routed is part of the deployment and is checked with the
 * topology (shared/config/provider-regions.ts).
 */
export function createModal({ key, prefixId, secret, ...options }: ModalOptions): Engine {
  return createOpenAiCompatible({
    ...options,
    credentials: { "modal-key": key, "modal-secret": secret },
    stickiness: ({ affinityKey, tenant }) => ({
      "modal-session-id": prefixId(tenant, affinityKey),
    }),
    // One of many containers answers, and asking would keep it awake.
    onLoad: null,
    isCold: (status, location) =>
      status === 303 && location !== undefined && location.includes("__modal_function_call_id="),
  });
}
