/** What one jurisdiction's traffic may touch. Origins are `http://host:port`, places `host:port`. */
export interface Territory {
  readonly cellOrigins: readonly string[];
  readonly healthKv: { readonly origin: string; readonly path: string };
}

/** One request that left a Worker. `jurisdiction` is that of all the traffic that this Worker was sent. */
export interface EgressRecord {
  readonly jurisdiction: string;
  readonly origin: string;
  readonly method: string;
  readonly path: string;
  readonly headers: string;
  readonly body: string;
}

/** One connection that a cell opened, and what it wrote there. */
export interface CellConnection {
  readonly cell: string;
  readonly to: string;
  readonly text: string;
}

/** What a cell may connect to: places of its shards and its region's database, where content belongs, and of the KV. */
export interface CellTerritory {
  readonly contentPlaces: readonly string[];
  readonly kvPlaces: readonly string[];
}

/** Everything that was recorded, to be searched for canaries. */
export interface Recordings {
  readonly egress: readonly EgressRecord[];
  readonly connections: readonly CellConnection[];
  /** What any part logged: standard output, standard error, log files. */
  readonly logs: readonly { readonly part: string; readonly text: string }[];
  /** What shards received and databases hold. */
  readonly stores: readonly {
    readonly jurisdiction: string;
    readonly place: string;
    readonly text: string;
  }[];
  /** Heads of the answers that clients got. */
  readonly answerHeads: readonly string[];
}

/** Where everything stands, and by which text a jurisdiction's content is known. */
export interface Ground {
  readonly territories: Readonly<Record<string, Territory>>;
  readonly cells: Readonly<Record<string, CellTerritory>>;
  /** A text that stands in all content of a jurisdiction and nowhere else. */
  readonly marks: Readonly<Record<string, string>>;
}

/** The rules. Each has a test that breaks it on purpose. */
export type Rule =
  | "egressToUnknownOrigin"
  | "egressToForeignCell"
  | "contentInHealthKv"
  | "writeToHealthKv"
  | "contentInUrlOrHeader"
  | "contentOfOtherJurisdiction"
  | "contentInLog"
  | "contentInForeignStore"
  | "contentInAnswerHead"
  | "cellConnectsElsewhere"
  | "cellSendsContentToKv";

/** A breach: which rule, and where it was seen. Never the content. */
export interface Finding {
  readonly rule: Rule;
  readonly where: string;
}

/** Commands of the health KV by which the edge reads hints; it has no business with any other. */
const kvReads = /^\["(?:mget|get)",/i;

/** Every breach of residency in what was recorded; empty when there is none. */
export function findBreaches(ground: Ground, recordings: Recordings): readonly Finding[] {
  const found = [
    ...recordings.egress.flatMap((one) => breachesOfEgress(ground, one)),
    ...recordings.connections.flatMap((one) => breachesOfConnection(ground, one)),
    ...recordings.logs.flatMap(({ part, text }) =>
      holdsAny(text, ground) ? [breach("contentInLog", part)] : [],
    ),
    ...recordings.stores.flatMap((store) =>
      holdsForeign(store.text, store.jurisdiction, ground)
        ? [breach("contentInForeignStore", store.place)]
        : [],
    ),
    ...recordings.answerHeads.flatMap((head) =>
      holdsAny(head, ground) ? [breach("contentInAnswerHead", "client")] : [],
    ),
  ];
  const distinct = new Map(found.map((one) => [`${one.rule} ${one.where}`, one]));
  return [...distinct.values()];
}

function breach(rule: Rule, where: string): Finding {
  return { rule, where };
}

function breachesOfEgress(ground: Ground, egress: EgressRecord): readonly Finding[] {
  const { jurisdiction, origin, path, headers, body } = egress;
  const own = ground.territories[jurisdiction];
  const where = `edge of ${jurisdiction} to ${origin}`;
  const found: Finding[] = [];
  if (holdsAny(`${path}\n${headers}`, ground)) found.push(breach("contentInUrlOrHeader", where));
  if (own?.healthKv.origin === origin) {
    if (holdsAny(body, ground)) found.push(breach("contentInHealthKv", where));
    if (path !== own.healthKv.path || !kvReads.test(body))
      found.push(breach("writeToHealthKv", where));
    return found;
  }
  if (holdsForeign(body, jurisdiction, ground))
    found.push(breach("contentOfOtherJurisdiction", where));
  if (own?.cellOrigins.includes(origin) === true) return found;
  const isForeignCell = Object.values(ground.territories).some(({ cellOrigins }) =>
    cellOrigins.includes(origin),
  );
  found.push(breach(isForeignCell ? "egressToForeignCell" : "egressToUnknownOrigin", where));
  return found;
}

function breachesOfConnection(ground: Ground, connection: CellConnection): readonly Finding[] {
  const { cell, to, text } = connection;
  const own = ground.cells[cell];
  const where = `cell ${cell} to ${to}`;
  if (own?.kvPlaces.includes(to) === true)
    return holdsAny(text, ground) ? [breach("cellSendsContentToKv", where)] : [];
  return own?.contentPlaces.includes(to) === true ? [] : [breach("cellConnectsElsewhere", where)];
}

function holdsAny(text: string, ground: Ground): boolean {
  return Object.values(ground.marks).some((mark) => holds(text, mark));
}

function holdsForeign(text: string, jurisdiction: string, ground: Ground): boolean {
  return Object.entries(ground.marks).some(
    ([owner, mark]) => owner !== jurisdiction && holds(text, mark),
  );
}

/** Whether `text` holds `mark` as it is or in an encoding that anybody can undo: base64, base64url, hex. */
export function holds(text: string, mark: string): boolean {
  return encodingsOf(mark).some((encoded) => text.includes(encoded));
}

const encodings = new Map<string, readonly string[]>();

function encodingsOf(mark: string): readonly string[] {
  let found = encodings.get(mark);
  if (found === undefined) {
    found = [mark, toHex(mark), ...base64Of(mark)];
    encodings.set(mark, found);
  }
  return found;
}

function toHex(mark: string): string {
  return Buffer.from(mark).toString("hex");
}

/** The inner characters of a text in base64, for each place that it may have in a group of three bytes. */
function base64Of(mark: string): readonly string[] {
  return [0, 1, 2].flatMap((before) => {
    const bytes = Buffer.from(`${"x".repeat(before)}${mark}`);
    const whole = bytes.subarray(0, bytes.length - (bytes.length % 3));
    const skipped = before === 0 ? 0 : 4;
    const inner = whole.toString("base64").slice(skipped);
    return [inner, inner.replaceAll("+", "-").replaceAll("/", "_")];
  });
}
