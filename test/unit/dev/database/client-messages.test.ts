import { expect, test } from "vitest";
import { ClientMessageReader } from "#dev/database/client-messages.ts";

function message(type: string, body: string): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length + 4);
  return Buffer.concat([Buffer.from(type), length, Buffer.from(body)]);
}

const sslRequest = Buffer.from("0000000804d2162f", "hex");
const gssRequest = Buffer.from("0000000804d21630", "hex");
const cancel = Buffer.from("0000001004d2162e0000000100000002", "hex");
const startup = message("", "\0\u0003\0\0user\0me\0\0");

/** What the reader finds when it is fed pieces of `size` bytes. */
function readAll(bytes: Buffer, size: number): readonly string[] {
  const reader = new ClientMessageReader();
  const found: string[] = [];
  for (let at = 0; at < bytes.length; at += size) {
    reader.push(bytes.subarray(at, at + size));
    for (let next = reader.next(); next !== null; next = reader.next()) {
      found.push(`${next.kind} ${next.type} ${next.bytes.length}`);
    }
  }
  return found;
}

test("finds the same messages whatever the borders of the chunks", () => {
  const query = message("Q", "select 1\0");
  const bytes = Buffer.concat([sslRequest, gssRequest, startup, query, message("S", ""), query]);
  const expected = [
    "sslRequest  8",
    "sslRequest  8",
    `startup  ${startup.length}`,
    "regular Q 14",
    "regular S 5",
    "regular Q 14",
  ];
  for (let size = 1; size <= bytes.length; size += 1)
    expect(readAll(bytes, size)).toEqual(expected);
});

test("tells a cancel request from a start", () => {
  expect(readAll(cancel, 16)).toEqual(["cancelRequest  16"]);
});

test("refuses lengths that no message has", () => {
  const tooLong = Buffer.from("510500000000", "hex");
  expect(() => readAll(Buffer.concat([startup, tooLong]), 1000)).toThrow(RangeError);
  const tooShort = Buffer.from("5100000003", "hex");
  expect(() => readAll(Buffer.concat([startup, tooShort]), 1000)).toThrow(RangeError);
  expect(() => readAll(Buffer.from("GET / HTTP/1.1\r\n"), 1000)).toThrow(RangeError);
});
