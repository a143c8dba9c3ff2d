import type { ServerResponse } from "node:http";

import type { FaultBoard } from "./faults.ts";

/** Bytes that are neither JSON nor UTF-8, some of them control characters. */
const rubbish = Buffer.from([
  0x00, 0xff, 0xfe, 0x7b, 0x22, 0xc3, 0x28, 0x0d, 0x0a, 0xf0, 0x9f, 0x5d,
]);

const page = "<!doctype html><html><body><h1>502 Bad Gateway</h1></body></html>";

/** Answers in place of the database when a fault says so; true when it did. */
export function answerWithFault(
  board: FaultBoard,
  region: string | undefined,
  response: ServerResponse,
): boolean {
  if (board.find("dead", region) !== undefined) {
    response.socket?.destroy();
    return true;
  }
  const status = board.find("status", region)?.status;
  if (status !== undefined) {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify({ error: `ERR injected fault: status ${status}` }));
    return true;
  }
  if (board.find("garbage", region) !== undefined) {
    response.writeHead(200, { "content-type": "application/json" }).end(rubbish);
    return true;
  }
  if (board.find("html", region) !== undefined) {
    response.writeHead(200, { "content-type": "text/html" }).end(page);
    return true;
  }
  return false;
}
