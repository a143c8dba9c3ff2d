import { ChildProcess } from "node:child_process";
import { Socket as DatagramSocket } from "node:dgram";
import dns from "node:dns";
import { appendFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { Socket, isIP } from "node:net";

/**
 * Loaded with --import into a cell: writes every way out that it takes as JSON lines into the file that
 * RECORD_CONNECTIONS_TO names, before it takes it. Clients of node:http, node:https, fetch and postgres all end in
 * net.Socket; what is written to a TLS socket passes here before it is encrypted. Datagrams, names that are
 * looked up (a question can carry content) and child processes are recorded too.
 */
const path = process.env["RECORD_CONNECTIONS_TO"] ?? "";

/** One line of the recording. */
export type ConnectionRecord =
  | { readonly kind: "connect"; readonly connection: number; readonly to: string }
  | { readonly kind: "bytes"; readonly connection: number; readonly text: string }
  | { readonly kind: "datagram"; readonly to: string }
  | { readonly kind: "name"; readonly to: string }
  | { readonly kind: "process"; readonly to: string };

function record(line: ConnectionRecord): void {
  appendFileSync(path, `${JSON.stringify(line)}\n`);
}

const connections = new WeakMap<object, number>();
let connectionsMade = 0;

/** `host:port` or the path of a local socket, from the arguments of `net.Socket.connect` in each of their shapes. */
function targetOf([first, second]: readonly unknown[]): string {
  // net.connect hands over its arguments as one array.
  if (Array.isArray(first)) return targetOf(first);
  if (typeof first === "object" && first !== null) {
    if ("path" in first && typeof first.path === "string" && !("port" in first)) return first.path;
    const host = "host" in first && typeof first.host === "string" ? first.host : "localhost";
    return `${host}:${"port" in first ? String(first.port) : "?"}`;
  }
  const isPath = typeof first === "string" && !/^[0-9]+$/.test(first);
  if (isPath) return first;
  return `${typeof second === "string" ? second : "localhost"}:${String(first)}`;
}

function textOf(chunk: unknown, encoding: unknown): string {
  if (chunk instanceof Uint8Array) return Buffer.from(chunk).toString("utf8");
  if (typeof chunk !== "string") return "";
  const isBinary = encoding === "hex" || encoding === "base64" || encoding === "base64url";
  return isBinary ? Buffer.from(chunk, encoding).toString("utf8") : chunk;
}

/** Replaces a method by one that looks at its arguments first. */
function watch(
  prototype: object,
  name: string,
  look: (self: object, args: readonly unknown[]) => void,
): void {
  const original: unknown = Reflect.get(prototype, name);
  if (typeof original !== "function") throw new TypeError(`${name} is no method`);
  Reflect.set(prototype, name, function watched(this: object, ...args: unknown[]): unknown {
    look(this, args);
    return Reflect.apply(original, this, args);
  });
}

watch(Socket.prototype, "connect", (self, args) => {
  connectionsMade += 1;
  connections.set(self, connectionsMade);
  record({ kind: "connect", connection: connectionsMade, to: targetOf(args) });
});
for (const method of ["write", "end"] as const) {
  watch(Socket.prototype, method, (self, [chunk, encoding]) => {
    // Sockets that were accepted carry answers to the edge.
    const connection = connections.get(self);
    const text = textOf(chunk, encoding);
    if (connection !== undefined && text !== "") record({ kind: "bytes", connection, text });
  });
}
watch(DatagramSocket.prototype, "send", (_self, args) => {
  record({
    kind: "datagram",
    to: args.filter((arg) => typeof arg !== "object" && typeof arg !== "function").join(":"),
  });
});
// It starts every child process and is not in the types of Node.
watch(ChildProcess.prototype, "spawn", (_self, [options]) => {
  const file = typeof options === "object" && options !== null && "file" in options;
  record({ kind: "process", to: file ? String(options.file) : "?" });
});

for (const resolver of [dns, dns.promises]) {
  for (const method of Object.keys(resolver)) {
    if (!/^(?:lookup|resolve[A-Za-z0-9]*|reverse)$/.test(method)) continue;
    watch(resolver, method, (_self, [name]) => {
      // A server that listens looks its own address up.
      if (typeof name === "string" && isIP(name) === 0) record({ kind: "name", to: name });
    });
  }
}
for (const resolver of [dns.Resolver, dns.promises.Resolver]) {
  watch(resolver.prototype, "resolve", (_self, [name]) => {
    record({ kind: "name", to: String(name) });
  });
}
syncBuiltinESMExports();
