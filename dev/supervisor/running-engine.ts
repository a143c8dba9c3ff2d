import { StartError } from "./options.ts";

/** Where well-known local servers listen. */
const knownServers = [
  { name: "Ollama", url: "http://127.0.0.1:11434/v1" },
  { name: "vLLM", url: "http://127.0.0.1:8000/v1" },
  { name: "llama.cpp", url: "http://127.0.0.1:8080/v1" },
  { name: "LM Studio", url: "http://127.0.0.1:1234/v1" },
];

const modelName = /^[a-zA-Z0-9][a-zA-Z0-9._/:@-]{0,127}$/;

/** The models that a server lists, or null when it does not answer as an OpenAI-compatible one. */
async function listModels(url: string, timeoutMs: number): Promise<readonly string[] | null> {
  try {
    const response = await fetch(`${url}/models`, {
      redirect: "manual",
      signal: AbortSignal.timeout(timeoutMs),
    });
    if (!response.ok) return null;
    const value = (await response.json()) as { data?: { id?: unknown }[] };
    if (!Array.isArray(value.data)) return null;
    return value.data.flatMap(({ id }) =>
      typeof id === "string" && modelName.test(id) ? [id] : [],
    );
  } catch {
    return null;
  }
}

/** The server that `--engine` names, with its models. @throws StartError when it does not answer or has none. */
export async function findEngine(
  given: string,
): Promise<{ readonly url: string; readonly models: readonly string[] }> {
  const plain = given.replace(/\/+$/, "");
  for (const url of plain.endsWith("/v1") ? [plain] : [`${plain}/v1`, plain]) {
    const models = await listModels(url, 2_000);
    if (models !== null && models.length > 0) return { url, models };
  }
  throw new StartError(
    `--engine ${given}: no answer with models at ${plain}/v1/models. Is the server running?`,
  );
}

/** A local server that could be served instead of the simulated engine, asked on loopback only. */
export async function offerEngine(): Promise<{
  readonly name: string;
  readonly url: string;
  readonly model: string;
} | null> {
  const found = await Promise.all(
    knownServers.map(async (server) => ({ ...server, models: await listModels(server.url, 300) })),
  );
  for (const { name, url, models } of found) {
    const model = models?.[0];
    if (model !== undefined) return { name, url, model };
  }
  return null;
}
