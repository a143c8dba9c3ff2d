import { faultKinds, faultSchema } from "./faults.ts";
import type { Fault, FaultBoard } from "./faults.ts";

/** An answer of the control endpoint. */
export interface ControlAnswer {
  readonly status: number;
  readonly body: unknown;
}

/** One thing wrong with a fault, in the form that all configuration errors have. */
interface Complaint {
  readonly path: string;
  readonly got: unknown;
  readonly wanted: string;
}

interface ControlRequest {
  readonly method: string;
  readonly query: URLSearchParams;
  readonly body: string;
  readonly regions: readonly string[];
}

/**
 * `/control/faults`: GET lists the faults in force, POST adds one, DELETE ends all of them or those of `?kind=` and
 * `?region=`. Each answers `{ "faults": […] }`; what it does not understand is refused with 400 and changes nothing.
 */
export function handleControl(board: FaultBoard, request: ControlRequest): ControlAnswer {
  switch (request.method) {
    case "GET":
      return listing(board);
    case "POST":
      return addFault(board, request);
    case "DELETE":
      return clearFaults(board, request);
    default:
      return { status: 405, body: { error: "wanted GET, POST or DELETE" } };
  }
}

function listing(board: FaultBoard): ControlAnswer {
  return { status: 200, body: { faults: board.list() } };
}

function addFault(board: FaultBoard, { body, regions }: ControlRequest): ControlAnswer {
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch {
    return complain([{ path: "", got: body.slice(0, 80), wanted: "a JSON object" }]);
  }
  const parsed = parseFault(json);
  if (Array.isArray(parsed)) return complain(parsed);
  const unknownRegion = regionComplaint(parsed.region, regions);
  if (unknownRegion !== undefined) return complain([unknownRegion]);
  if (!board.add(parsed)) return { status: 400, body: { error: "too many faults: DELETE some" } };
  return listing(board);
}

function clearFaults(board: FaultBoard, { query, regions }: ControlRequest): ControlAnswer {
  const complaints: Complaint[] = [];
  for (const [name, value] of query) {
    if (name !== "kind" && name !== "region") {
      complaints.push({ path: `?${name}`, got: value, wanted: "no such parameter" });
    }
  }
  const kind = query.get("kind") ?? undefined;
  const region = query.get("region") ?? undefined;
  if (kind !== undefined && !faultKinds.some((one) => one === kind)) {
    complaints.push({ path: "?kind", got: kind, wanted: `one of ${faultKinds.join(", ")}` });
  }
  const unknownRegion = regionComplaint(region, regions);
  if (unknownRegion !== undefined) complaints.push({ ...unknownRegion, path: "?region" });
  if (complaints.length > 0) return complain(complaints);
  board.clear({ kind, region });
  return listing(board);
}

function regionComplaint(
  region: string | undefined,
  regions: readonly string[],
): Complaint | undefined {
  if (region === undefined || regions.includes(region)) return undefined;
  return { path: "region", got: region, wanted: `one of ${regions.join(", ")}` };
}

function parseFault(json: unknown): Fault | Complaint[] {
  const parsed = faultSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  return parsed.error.issues.flatMap((issue): Complaint[] => {
    const path = issue.path.join(".");
    if (issue.code === "unrecognized_keys") {
      return issue.keys.map((key) => ({
        path: key,
        got: valueAt(json, [...issue.path, key]),
        wanted: "no such field",
      }));
    }
    const isKind = path === "kind";
    const wanted = isKind ? `one of ${faultKinds.join(", ")}` : issue.message;
    return [{ path, got: valueAt(json, issue.path), wanted }];
  });
}

function valueAt(json: unknown, path: readonly PropertyKey[]): unknown {
  let value: unknown = json;
  for (const key of path) {
    if (typeof value !== "object" || value === null) return undefined;
    value = Reflect.get(value, key);
  }
  return value;
}

function complain(issues: readonly Complaint[]): ControlAnswer {
  const lines = issues.map(
    ({ path, got, wanted }) =>
      `${path === "" ? "body" : path}: got ${JSON.stringify(got) ?? "nothing"}, wanted ${wanted}`,
  );
  return { status: 400, body: { error: lines.join("; "), issues } };
}
