import { callGrpc, grpcStatus } from "./grpc-call.ts";
import type { GrpcAnswer } from "./grpc-call.ts";
import { bytesField, bytesOf, doubleField, numberField, numberOf, readFields } from "./protobuf.ts";
import type { ProtobufField } from "./protobuf.ts";

/** A server of Modal's, and the API token that may set its autoscaler. */
export interface ModalServer {
  readonly app: string;
  readonly server: string;
  /** Null: the token's default environment. */
  readonly environment: string | null;
  /** Requests at once of all containers that there may be. */
  readonly concurrentRequestsMax: number;
  readonly tokenId: string;
  readonly tokenSecret: string;
}

/** How a call of the control plane ended. */
export type ControlAnswer<T> =
  | { readonly kind: "ok"; readonly value: T }
  | { readonly kind: "throttled" | "quotaRefused" | "notFound" | "failed" };

/** Bounds of a server's containers. */
export interface ContainerBounds {
  readonly containersMin: number;
  readonly containersMax: number;
  /** Requests at once that a container is filled to before another one starts; above 0, fractions too. */
  readonly concurrency: number;
}

/** Calls of Modal's control plane, one try each. They carry names and numbers, no content. */
export interface ModalControl {
  /** The id that the server's name has now; a deploy may give another one. */
  find(server: ModalServer, signal: AbortSignal): Promise<ControlAnswer<string>>;
  /** Containers that there are. */
  count(server: ModalServer, id: string, signal: AbortSignal): Promise<ControlAnswer<number>>;
  /** Sets the bounds, without spare containers: the plan has its own. Tells the floor that is set now, null when it was not told. */
  bound(
    server: ModalServer,
    id: string,
    bounds: ContainerBounds,
    signal: AbortSignal,
  ): Promise<ControlAnswer<number | null>>;
}

/** Modal's control plane (its SDK for JavaScript 0.11.1, npm, Apache-2.0: default of `serverUrl`). */
const modalOrigin = "https://api.modal.com";
/** What its SDK for JavaScript calls itself, and the API that it follows; who calls is told beside it. */
const clientType = "8";
const clientVersion = "1.0.0";

/** A token of the session is good for this long: Modal's SDK keeps one without an end for 20 minutes and asks 5 before it. */
const sessionMs = 900_000;

const nothing = new Uint8Array();

function headersOf({ tokenId, tokenSecret }: ModalServer, host: string): Record<string, string> {
  return {
    "x-modal-host": host,
    "x-modal-client-type": clientType,
    "x-modal-client-version": clientVersion,
    "x-modal-libmodal-version": "meridian",
    "x-modal-token-id": tokenId,
    "x-modal-token-secret": tokenSecret,
  };
}

/**
 * What a status means. Modal throttles by RESOURCE_EXHAUSTED (its SDK waits and repeats). By which status it refuses more containers
 * than a workspace may have is published nowhere; FAILED_PRECONDITION is taken for that.
 */
function refusalOf(status: number | null): "throttled" | "quotaRefused" | "notFound" | "failed" {
  if (status === grpcStatus.resourceExhausted) return "throttled";
  if (status === grpcStatus.failedPrecondition) return "quotaRefused";
  return status === grpcStatus.notFound ? "notFound" : "failed";
}

/** Text that is not empty. */
function textOf(fields: readonly ProtobufField[], field: number): string | null {
  const bytes = bytesOf(fields, field);
  return bytes === null || bytes.length === 0 ? null : Buffer.from(bytes).toString("utf8");
}

function readAnswer<T>(
  { message, status }: GrpcAnswer,
  read: (fields: readonly ProtobufField[]) => T | null,
): ControlAnswer<T> {
  if (status !== grpcStatus.ok) return { kind: refusalOf(status) };
  const fields = readFields(message);
  const value = fields === null ? null : read(fields);
  return value === null ? { kind: "failed" } : { kind: "ok", value };
}

export interface ModalControlOptions {
  readonly monotonicMs: () => number;
  /** Modal's when it is left out. */
  readonly origin?: string | undefined;
}

/** Field numbers are those of Modal's `api.proto` as its SDK for JavaScript 0.11.1 encodes them. */
export function createModalControl(options: ModalControlOptions): ModalControl {
  const { monotonicMs, origin = modalOrigin } = options;
  /** Of each API token: what the control plane gave for it. */
  const sessions = new Map<string, { readonly token: string; readonly atMs: number }>();

  function send(
    server: ModalServer,
    method: string,
    fields: readonly Uint8Array[],
    session: string | null,
    signal: AbortSignal,
  ): Promise<GrpcAnswer> {
    const headers = headersOf(server, new URL(origin).hostname);
    if (session !== null) headers["x-modal-auth-token"] = session;
    const path = `/modal.client.ModalClient/${method}`;
    return callGrpc({ origin, path, headers, message: Buffer.concat(fields) }, signal);
  }

  async function openSession(
    server: ModalServer,
    signal: AbortSignal,
  ): Promise<string | GrpcAnswer> {
    const known = sessions.get(server.tokenId);
    if (known !== undefined && monotonicMs() - known.atMs < sessionMs) return known.token;
    const answer = await send(server, "AuthTokenGet", [], null, signal);
    // AuthTokenGetResponse: token 1.
    const read = readAnswer(answer, (fields) => textOf(fields, 1));
    if (read.kind !== "ok") {
      // Without a token nothing was asked, whatever this answer was.
      return { status: answer.status === grpcStatus.ok ? null : answer.status, message: nothing };
    }
    sessions.set(server.tokenId, { token: read.value, atMs: monotonicMs() });
    return read.value;
  }

  async function call(
    server: ModalServer,
    method: string,
    fields: readonly Uint8Array[],
    signal: AbortSignal,
  ): Promise<GrpcAnswer> {
    const session = await openSession(server, signal);
    if (typeof session !== "string") return session;
    const answer = await send(server, method, fields, session, signal);
    // The next call asks for another one.
    if (answer.status === grpcStatus.unauthenticated) sessions.delete(server.tokenId);
    return answer;
  }

  return {
    async find(server, signal) {
      // FunctionGetRequest: app_name 1, object_tag 2, environment_name 4; a server is found by its plain name.
      const request = [bytesField(1, server.app), bytesField(2, server.server)];
      if (server.environment !== null) request.push(bytesField(4, server.environment));
      const answer = await call(server, "FunctionGet", request, signal);
      // FunctionGetResponse: function_id 1.
      return readAnswer(answer, (fields) => textOf(fields, 1));
    },
    async count(server, id, signal) {
      const request = [bytesField(1, id)];
      const answer = await call(server, "FunctionGetCurrentStats", request, signal);
      // FunctionStats: num_total_tasks 3, left out when it is 0.
      return readAnswer(answer, (fields) => numberOf(fields, 3) ?? 0);
    },
    async bound(server, id, { concurrency, containersMax, containersMin }, signal) {
      // AutoscalerSettings: min_containers 1, max_containers 2, buffer_containers 3, target_concurrency_float 9; what is left out stays.
      const settings = Buffer.concat([
        numberField(1, containersMin),
        numberField(2, containersMax),
        numberField(3, 0),
        doubleField(9, concurrency),
      ]);
      // FunctionUpdateSchedulingParamsRequest: function_id 1, settings 3.
      const request = [bytesField(1, id), bytesField(3, settings)];
      const answer = await call(server, "FunctionUpdateSchedulingParams", request, signal);
      // FunctionUpdateSchedulingParamsResponse: current_settings 1.
      const read = readAnswer(answer, (fields) => {
        const current = bytesOf(fields, 1);
        const told = current === null ? [] : readFields(current);
        return told === null ? null : { floor: numberOf(told, 1) };
      });
      return read.kind === "ok" ? { kind: "ok", value: read.value.floor } : read;
    },
  };
}
