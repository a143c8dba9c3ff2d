import type { Hono } from "hono";
import type { EdgeDeps } from "../ports.ts";
import { factsOf } from "../request-facts.ts";
import type { EdgeEnvironment } from "../request-facts.ts";
import { readPosition, resumeStream } from "../turns/resume-stream.ts";
import { openClientId } from "../turns/turn-ids.ts";
import { respond } from "./generate.ts";
import { mount } from "./route.ts";

const header = "Last-Event-ID";

/**
 * `GET /v1/streams/{id}`: the stream of a durable turn again, from its start or after `Last-Event-ID` (WHATWG HTML, server-sent
 * events), for any number of readers, while it runs and for as long as it is kept.
 */
export function addStreams(app: Hono<EdgeEnvironment>, deps: EdgeDeps): void {
  mount(app, "/v1/streams/:id", {
    GET: {
      run: async (c) => {
        const facts = factsOf(c);
        const text = c.req.header(header);
        const afterSeq = text === undefined ? 0 : readPosition(text, header);
        const place = await openClientId(deps, facts, c.req.param("id") ?? "", {
          prefix: "strm",
          noun: "The stream",
        });
        return respond(c, await resumeStream(deps, facts, place, { afterSeq, param: header }));
      },
    },
  });
}
