/** /control/*: faults, crash and the request log. Never on the OpenAI paths. */
import type { ServerResponse } from "node:http";
import * as z from "zod";
import type { Platform } from "../platform.ts";
import { EngineError } from "./errors.ts";
import { sendJson } from "./exchange.ts";
import { parseFault, type FaultBook } from "./faults.ts";
import type { RequestLog } from "./request-log.ts";

export interface Control {
  readonly faults: FaultBook;
  readonly log: RequestLog;
  readonly platform: Platform;
  readonly crash: () => void;
}

/** How long the fault `cold` lasts when it names no `delayMs`. */
const coldMsDefault = 10_000;
const takeDownSchema = z.strictObject({ coldStartMs: z.number().min(0).max(3_600_000).optional() });

/** Answers a control request. @throws EngineError 400, 404. */
export function handleControl(
  control: Control,
  method: string,
  path: string,
  body: () => unknown,
  response: ServerResponse,
): void {
  switch (`${method} ${path}`) {
    case "GET /control/faults":
      return sendJson(response, 200, {
        faults: control.faults.list().map(({ spec, ...rest }) => ({ ...rest, ...spec })),
      });
    case "POST /control/faults": {
      const parsed = parseFault(body());
      if (!parsed.ok) throw new EngineError(400, parsed.message);
      const fault = control.faults.add(parsed.spec);
      if (fault === undefined)
        throw new EngineError(400, "faults: got more than 100, wanted fewer; DELETE them first");
      if (parsed.spec.kind === "cold")
        control.platform.unreadyFor(parsed.spec.delayMs ?? coldMsDefault);
      return sendJson(response, 200, { id: fault.id, ...fault.spec });
    }
    case "DELETE /control/faults":
      control.faults.clear();
      control.platform.unreadyFor(0);
      return sendJson(response, 200, { faults: [] });
    case "GET /control/platform":
      return sendJson(response, 200, control.platform.state());
    case "POST /control/cold": {
      const parsed = takeDownSchema.safeParse(body());
      if (!parsed.success)
        throw new EngineError(400, "body: wanted {} or { coldStartMs: 0 to 3600000 }");
      control.platform.takeDown(parsed.data.coldStartMs);
      return sendJson(response, 200, control.platform.state());
    }
    case "POST /control/crash":
      return control.crash();
    case "GET /control/requests":
      return sendJson(response, 200, { requests: control.log.list() });
    case "DELETE /control/requests":
      control.log.clear();
      return sendJson(response, 200, { requests: [] });
    default:
      throw new EngineError(404, `No control endpoint ${method} ${path}.`);
  }
}
