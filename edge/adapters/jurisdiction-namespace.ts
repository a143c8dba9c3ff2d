import type { ObjectPin } from "#shared/config/topology.ts";

/** What is used of a Durable Object namespace; tests give a fake. */
export interface PinnableNamespace<Self> {
  jurisdiction(pin: "eu" | "us" | "fedramp"): Self;
}

/**
 * The namespace whose objects lie in `pin`. Local workerd does not implement jurisdictions and throws for any value, so
 * development asks for `emulate`; the setting is explicit and nothing is caught, because a fallback would fail open.
 * Only this function may touch the binding: an id of one jurisdiction works from the unrestricted namespace.
 */
export function jurisdictionNamespace<Namespace extends PinnableNamespace<Namespace>>(
  namespace: Namespace,
  pin: ObjectPin,
  mode: "enforce" | "emulate",
): Namespace {
  return mode === "enforce" && pin !== "unpinned" ? namespace.jurisdiction(pin) : namespace;
}
