/** One event of a client's stream. */
export interface ClientEvent {
  readonly id: string | null;
  readonly event: string | null;
  readonly data: string;
}

/** The events in `text`, comments left out. The last one may lack its empty line: then it is none. */
export function eventsOf(text: string): readonly ClientEvent[] {
  const events: ClientEvent[] = [];
  for (const block of text.slice(0, text.lastIndexOf("\n\n") + 1).split("\n\n")) {
    const fields = new Map<string, string>();
    for (const line of block.split("\n")) {
      const colon = line.indexOf(": ");
      if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 2));
    }
    const data = fields.get("data");
    if (data === undefined) continue;
    events.push({ id: fields.get("id") ?? null, event: fields.get("event") ?? null, data });
  }
  return events;
}
