import { isPermittedReadOnly, refusalOf } from "./commands.ts";
import type { Command } from "./engine.ts";
import { bytesOfText, isErrorReply, textOfBytes } from "./reply.ts";
import type { ErrorReply, Reply } from "./reply.ts";

/** How the commands of a request belong together: one answer, one each, or all or none. */
export type RequestForm = "single" | "pipeline" | "multi-exec";

/** A request in Redis' terms. */
export interface ParsedRequest {
  readonly form: RequestForm;
  readonly commands: readonly Command[];
}

/** Most commands of one pipeline; the client splits its own automatic ones at 1,000. */
const commandsMax = 10_000;

interface RequestParts {
  /** The path below the base URL, still percent-encoded, without the leading slash. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** The body as a byte string. */
  readonly body: string;
}

/**
 * Reads a REST request (Upstash documentation, "REST API"): an array posted to the base URL, arrays of arrays to `pipeline`
 * and `multi-exec`, or a command in the path, whose body and then query parameters become its last arguments.
 */
export function parseRequest(parts: RequestParts): ParsedRequest | ErrorReply {
  if (parts.path === "") {
    const json = parseJson(parts.body);
    const command = Array.isArray(json) ? commandOfJson(json) : undefined;
    return command === undefined
      ? { error: "ERR failed to parse command: wanted a JSON array of strings and numbers" }
      : { form: "single", commands: [command] };
  }
  if (parts.path === "pipeline" || parts.path === "multi-exec") {
    return parseList(parts.path, parts.body);
  }
  const words = decodePath(parts.path);
  if (words === undefined) return { error: "ERR failed to parse command: malformed path" };
  if (parts.body !== "") words.push(parts.body);
  for (const [name, value] of parts.query) {
    if (name === "_token") continue;
    words.push(bytesOfText(name));
    if (value !== "") words.push(bytesOfText(value));
  }
  const command = commandOfWords(words);
  return command === undefined
    ? { error: "ERR empty command" }
    : { form: "single", commands: [command] };
}

function parseList(form: RequestForm, body: string): ParsedRequest | ErrorReply {
  const json = parseJson(body);
  if (!Array.isArray(json) || json.length === 0 || json.length > commandsMax) {
    return { error: `ERR failed to parse ${form} request: wanted 1 to ${commandsMax} commands` };
  }
  const commands: Command[] = [];
  for (const [index, item] of json.entries()) {
    const command = Array.isArray(item) ? commandOfJson(item) : undefined;
    if (command === undefined) {
      return { error: `ERR failed to parse ${form} request: [${index}] is no command` };
    }
    commands.push(command);
  }
  return { form, commands };
}

function parseJson(body: string): unknown {
  try {
    return JSON.parse(textOfBytes(body));
  } catch {
    return undefined;
  }
}

function commandOfJson(items: readonly unknown[]): Command | undefined {
  const words: string[] = [];
  for (const item of items) {
    if (typeof item !== "string" && typeof item !== "number" && typeof item !== "boolean") {
      return undefined;
    }
    words.push(bytesOfText(String(item)));
  }
  return commandOfWords(words);
}

function commandOfWords([name, ...args]: readonly string[]): Command | undefined {
  return name === undefined || name === "" ? undefined : [name.toUpperCase(), ...args];
}

/** Percent-decodes to bytes, so that a path can carry what is not UTF-8. */
function decodePath(path: string): string[] | undefined {
  if (/%(?![0-9a-fA-F]{2})/.test(path)) return undefined;
  return path
    .split("/")
    .map((segment) =>
      bytesOfText(segment).replaceAll(/%([0-9a-fA-F]{2})/g, (_, hex: string) =>
        String.fromCharCode(Number.parseInt(hex, 16)),
      ),
    );
}

/** Why a command does not run for this token, or undefined. */
export function refuse(command: Command, isReadOnly: boolean): ErrorReply | undefined {
  const refusal = refusalOf(command);
  if (refusal !== undefined || !isReadOnly || isPermittedReadOnly(command)) return refusal;
  const name = command[0].toLowerCase();
  return { error: `NOPERM this user has no permissions to run the '${name}' command` };
}

/**
 * A reply as the client decodes it: in base64 every string but a status `OK`, which `@upstash/redis` 1.39.0 takes literally;
 * without it bytes that are not UTF-8 are lost.
 */
export function encodeReply(reply: Reply, isBase64: boolean): unknown {
  if (reply === null || typeof reply === "number") return reply;
  if (typeof reply === "string") {
    return isBase64 ? Buffer.from(reply, "latin1").toString("base64") : textOfBytes(reply);
  }
  if (Array.isArray(reply)) return reply.map((item) => encodeReply(item, isBase64));
  if (isErrorReply(reply)) return reply.error;
  return reply.status === "OK" ? "OK" : encodeReply(reply.status, isBase64);
}

/** One entry of an answer: `{"result"}` or `{"error"}`. */
export function envelopeOf(reply: Reply, isBase64: boolean): Record<string, unknown> {
  return isErrorReply(reply)
    ? { error: textOfBytes(reply.error) }
    : { result: encodeReply(reply, isBase64) };
}
