import type { Hono } from "hono";
import { GatewayError } from "#shared/errors/gateway-error.ts";
import { factsOf } from "../request-facts.ts";
import type { EdgeEnvironment } from "../request-facts.ts";
import { findModel } from "../turns/prepared-turn.ts";
import { mount } from "./route.ts";

const path = "/v1/models";

/** The topology has no date of a model; OpenAI's clients only ask for a number. */
const createdUnknown = 0;

function modelBody(id: string) {
  return { id, object: "model", created: createdUnknown, owned_by: "meridian" };
}

/** An id from the path: ids hold slashes, and some clients encode them. */
function decodeId(encoded: string): string {
  try {
    return decodeURIComponent(encoded);
  } catch {
    throw new GatewayError("invalid_request", "The model's id is not encoded as a URL is.", {
      param: "model",
    });
  }
}

/** `GET /v1/models` and `GET /v1/models/{id}`: those that this jurisdiction serves, and no others. */
export function addModels(app: Hono<EdgeEnvironment>): void {
  mount(app, path, {
    GET: {
      run: (c) =>
        c.json({
          object: "list",
          data: [...factsOf(c).jurisdiction.models.keys()].map(modelBody),
        }),
    },
  });
  mount(app, `${path}/*`, {
    GET: {
      run: (c) => {
        const { pathname } = new URL(c.req.url);
        const id = decodeId(pathname.slice(path.length + 1));
        return c.json(modelBody(findModel(factsOf(c), id).id));
      },
    },
  });
}
