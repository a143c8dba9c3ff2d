/** The client's first frame is no longer than this; a response's repeats instructions and tools. */
const firstFrameCharactersMax = 16 * 1024 * 1024;

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The model that the first of a client's frames names (a chunk's `model`, or `response.model`); null where none does. */
export function answeredModel(frames: string): string | null {
  const block = frames.slice(0, firstFrameCharactersMax).split("\n\n", 1)[0] ?? "";
  const data = /^data: (.*)$/m.exec(block)?.[1];
  if (data === undefined) return null;
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    return null;
  }
  if (!isRecord(value)) return null;
  const { model, response } = value;
  const named = isRecord(response) ? response["model"] : model;
  return typeof named === "string" ? named : null;
}
