import type { JsonValue } from "../json.ts";

type Fields = Readonly<Record<string, JsonValue | undefined>>;

/** One frame of a client's stream as an earlier attempt sent it. */
export interface DeliveredFrame {
  readonly event: string | null;
  readonly fields: Fields;
}

export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const framePattern = /^id: (\d{1,15})\n(?:event: ([a-z_.]+)\n)?data: ([^\n]*)$/;

function readFrame(block: string, seq: number): DeliveredFrame | null {
  const match = framePattern.exec(block);
  if (match === null || Number(match[1]) !== seq) return null;
  let fields: unknown;
  try {
    fields = JSON.parse(match[3] ?? "");
  } catch {
    return null;
  }
  return isFields(fields) ? { event: match[2] ?? null, fields } : null;
}

/** The frames 1..toSeq in `text`, or null when they are not exactly these. An end marker is no frame to go on from. */
export function readFrames(text: string, toSeq: number): readonly DeliveredFrame[] | null {
  const frames: DeliveredFrame[] = [];
  let start = 0;
  while (start < text.length) {
    const end = text.indexOf("\n\n", start);
    if (end < 0) return null;
    const frame = readFrame(text.slice(start, end), frames.length + 1);
    if (frame === null) return null;
    frames.push(frame);
    start = end + 2;
  }
  return frames.length === toSeq ? frames : null;
}
