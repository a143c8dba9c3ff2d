import { createHash, createHmac, randomBytes } from "node:crypto";
import { Agent, request } from "node:http";
import type { IncomingMessage } from "node:http";
import { signatureHeaders, signatureInput } from "#shared/protocol/internal/signature.ts";
import type { CellId } from "#shared/residency/brands.ts";
import { model } from "../targets.ts";

const cell = "eu-west-1a" as CellId;
/** The signing key of the test bindings (test/support/edge-bindings.ts). */
const key = Buffer.from("22".repeat(32), "hex");
const agent = new Agent({ keepAlive: true, maxSockets: Infinity });
const deadlineMs = 300_000;

/** How one turn ended. */
export interface TurnEnd {
  readonly isWhole: boolean;
  readonly ms: number;
  /** Why it is not whole. */
  readonly failure: string;
}

let count = 0;

/** A stateless turn as the edge puts it to a cell; each with words, a user and ids of its own. */
function turnBody(
  isStreamed: boolean,
  pace: string,
): { readonly id: string; readonly text: string } {
  count += 1;
  const id = `turn_eu_${count}`;
  const now = Date.now();
  const messages = [{ role: "user", content: `Question ${count}, of no weight. [[${pace}]]` }];
  const turn = {
    v: 1,
    turnId: id,
    lane: "stateless",
    tenant: "acme",
    jurisdiction: "eu",
    cell,
    conversationId: null,
    incarnation: 0,
    attempt: 1,
    requestId: `req_${count}`,
    priority: "interactive",
    deadlineMs: now + deadlineMs,
    hop: 0,
    affinity: { homeShard: null, key: String(count).padStart(32, "k") },
    rendering: {
      api: "chat",
      stream: isStreamed,
      includeUsage: false,
      publicId: `chatcmpl_${count}`,
      createdAtSeconds: Math.floor(now / 1000),
      model,
      itemIdStem: `stem${count}`,
      echo: {},
    },
    engine: {
      path: "chat/completions",
      model,
      body: { model, messages },
      promptTokensEstimate: 12,
      completionTokensMax: 64,
    },
    resume: null,
  };
  return { id, text: JSON.stringify(turn) };
}

function signed(path: string, text: string): Record<string, string> {
  const call = {
    method: "PUT",
    path,
    bodySha256: createHash("sha256").update(text).digest("hex"),
    timestampMs: Date.now(),
    nonce: randomBytes(16).toString("hex").slice(0, 22),
    keyId: "k1",
    cell,
  };
  return {
    [signatureHeaders.keyId]: call.keyId,
    [signatureHeaders.timestamp]: String(call.timestampMs),
    [signatureHeaders.nonce]: call.nonce,
    [signatureHeaders.bodyHash]: call.bodySha256,
    [signatureHeaders.signature]: createHmac("sha256", key)
      .update(signatureInput(call))
      .digest("hex"),
  };
}

/** Puts one turn to the cell and reads its answer to the end. `onData` is called for each piece of it. */
export function putTurn(
  url: string,
  isStreamed: boolean,
  pace: "fast" | "held",
  onData: () => void = () => {},
): Promise<TurnEnd> {
  const { id, text } = turnBody(isStreamed, pace);
  const path = `/internal/turns/${id}?attempt=1`;
  const fromMs = performance.now();
  const marker = isStreamed ? "data: [DONE]" : '"finish_reason":"stop"';
  return new Promise((resolve) => {
    const end = (isWhole: boolean, failure: string): void =>
      resolve({ isWhole, ms: performance.now() - fromMs, failure });
    const call = request(
      `${url}${path}`,
      {
        agent,
        method: "PUT",
        headers: {
          ...signed(path, text),
          "content-type": "application/json",
          "content-length": Buffer.byteLength(text),
          traceparent: `00-${"a".repeat(32)}-${"b".repeat(16)}-01`,
        },
      },
      (response: IncomingMessage) => {
        let tail = "";
        response.on("data", (data: Buffer) => {
          tail = (tail + data.toString("latin1")).slice(-1_000);
          onData();
        });
        response.on("end", () => {
          const isWhole = response.statusCode === 200 && tail.includes(marker);
          end(isWhole, isWhole ? "" : `${response.statusCode} …${tail.slice(-400)}`);
        });
        response.on("error", (error) => end(false, error.message));
      },
    );
    call.on("error", (error) => end(false, error.message));
    call.end(text);
  });
}
