import type { DevFile } from "../supervisor/dev-file.ts";

/** A piece of an answer as it came. `shard` is the one that began the answer. */
export interface Piece {
  readonly content: string;
  readonly shard: string;
  /** `performance.now()`. */
  readonly atMs: number;
}

/** A streamed answer, read to its end. */
export interface StreamedAnswer {
  readonly text: string;
  readonly shard: string;
  /** Whether it ended with its end marker; anything else is no answer. */
  readonly isWhole: boolean;
  readonly events: number;
  readonly lastEventId: number;
  readonly outputTokens: number;
}

interface Chunk {
  readonly choices: readonly { readonly delta: { readonly content?: string } }[];
  readonly usage?: { readonly completion_tokens: number } | null;
}

/** Streams one chat completion of the EU's first model. @throws Error when the edge refuses it or an event id is missing. */
export async function streamAnswer(
  dev: DevFile,
  prompt: string,
  onPiece: (piece: Piece) => void,
): Promise<StreamedAnswer> {
  const response = await fetch(`${dev.edge.url}/v1/chat/completions`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${dev.keys["eu"] ?? ""}`,
      "content-type": "application/json",
    },
    body: JSON.stringify({
      model: dev.shards.find(({ cell }) => cell.startsWith("eu-"))?.model,
      messages: [{ role: "user", content: prompt }],
      stream: true,
      store: true,
      stream_options: { include_usage: true },
    }),
  });
  if (!response.ok || response.body === null) throw new Error(await response.text());
  const shard = response.headers.get("x-meridian-shard") ?? "";
  const decoder = new TextDecoder();
  let buffer = "";
  let text = "";
  let isWhole = false;
  let events = 0;
  let lastEventId = 0;
  let outputTokens = 0;

  function take(block: string): void {
    const match = /^id: (\d+)\ndata: (.*)$/.exec(block);
    if (match === null) return;
    if (Number(match[1]) !== lastEventId + 1)
      throw new Error(`event ${lastEventId + 1} is missing`);
    lastEventId += 1;
    events += 1;
    if (match[2] === "[DONE]") {
      isWhole = true;
      return;
    }
    const chunk = JSON.parse(match[2] ?? "") as Chunk;
    outputTokens = chunk.usage?.completion_tokens ?? outputTokens;
    const content = chunk.choices[0]?.delta.content ?? "";
    text += content;
    if (content !== "") onPiece({ content, shard, atMs: performance.now() });
  }

  for await (const bytes of response.body) {
    buffer += decoder.decode(bytes, { stream: true });
    const blocks = buffer.split("\n\n");
    buffer = blocks.pop() ?? "";
    for (const block of blocks) take(block);
  }
  return { text, shard, isWhole, events, lastEventId, outputTokens };
}
