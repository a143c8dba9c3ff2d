/** Where a request goes: the control endpoint, or the database by the plain base URL or by that of one region. */
export type RequestTarget =
  | { readonly kind: "control" }
  | { readonly kind: "commands"; readonly region: string | undefined; readonly path: string }
  | { readonly kind: "unknown"; readonly error: string };

/** Decides the target from the path of the request. */
export function targetOf(pathname: string, regions: readonly string[]): RequestTarget {
  if (pathname === "/control/faults") return { kind: "control" };
  if (pathname.startsWith("/control/")) {
    return { kind: "unknown", error: "not found: the control endpoint is /control/faults" };
  }
  const inRegion = /^\/regions\/([^/]*)(?:\/|$)/.exec(pathname);
  if (inRegion === null) return { kind: "commands", region: undefined, path: pathname.slice(1) };
  const region = inRegion[1] ?? "";
  if (!regions.includes(region)) {
    return {
      kind: "unknown",
      error: `not found: region "${region}", wanted ${regions.join(", ")}`,
    };
  }
  return { kind: "commands", region, path: pathname.slice(inRegion[0].length) };
}
