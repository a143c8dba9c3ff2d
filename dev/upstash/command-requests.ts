import type { Command } from "./engine.ts";
import type { Database } from "./database.ts";
import { isErrorReply } from "./reply.ts";
import type { Reply } from "./reply.ts";
import { envelopeOf, parseRequest, refuse } from "./rest-protocol.ts";

/** A request whose token was accepted. */
export interface CommandRequest {
  readonly path: string;
  readonly query: URLSearchParams;
  readonly body: string;
  readonly region: string | undefined;
  readonly isReadOnly: boolean;
  readonly isBase64: boolean;
  readonly syncToken: string | undefined;
}

export interface CommandAnswer {
  readonly status: number;
  readonly body: unknown;
  readonly syncToken: string | undefined;
}

function refusal(error: string): CommandAnswer {
  return { status: 400, body: { error }, syncToken: undefined };
}

/** Parses, checks and runs the commands of a request. In a pipeline a refused command fails alone, elsewhere the request. */
export async function handleCommands(
  database: Database,
  request: CommandRequest,
): Promise<CommandAnswer> {
  const parsed = parseRequest(request);
  if ("error" in parsed) return refusal(parsed.error);
  const refusals = parsed.commands.map((command) => refuse(command, request.isReadOnly));
  const firstRefusal = refusals.find((one) => one !== undefined);
  if (firstRefusal !== undefined && parsed.form !== "pipeline") {
    const isTransaction = parsed.form === "multi-exec";
    return refusal(
      isTransaction
        ? `EXECABORT Transaction discarded because of: ${firstRefusal.error}`
        : firstRefusal.error,
    );
  }
  const permitted = parsed.commands.filter((_, index) => refusals[index] === undefined);
  const { reply, syncToken } = await database.run({
    commands: permitted,
    isAtomic: parsed.form === "multi-exec",
    region: request.region,
    syncToken: request.syncToken,
  });
  if (!Array.isArray(reply)) return { ...refusal(messageOf(reply)), syncToken };
  if (parsed.form === "single") {
    const only = reply[0] ?? null;
    const status = isErrorReply(only) ? 400 : 200;
    return { status, body: envelopeOf(only, request.isBase64), syncToken };
  }
  const replies = reply.values();
  const body = parsed.commands.map((_: Command, index) => {
    const one: Reply = refusals[index] ?? replies.next().value ?? null;
    return envelopeOf(one, request.isBase64);
  });
  return { status: 200, body, syncToken };
}

function messageOf(reply: Reply): string {
  return isErrorReply(reply) ? reply.error : "ERR the transaction did not run";
}
