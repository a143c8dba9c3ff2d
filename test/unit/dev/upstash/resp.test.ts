import { describe, expect, test } from "vitest";

import { ReplyReader, encodeCommand } from "#dev/upstash/resp.ts";

describe("RESP2", () => {
  test("a command is encoded with the length of each part in bytes", () => {
    expect(encodeCommand(["SET", "k", "\xff\r\n"])).toBe(
      "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\n\xff\r\n\r\n",
    );
  });

  test("replies are the same however the bytes are cut", () => {
    const bytes =
      "+OK\r\n-ERR no\r\n:-7\r\n$-1\r\n$4\r\n\r\n+O\r\n*3\r\n*-1\r\n*1\r\n:1\r\n$0\r\n\r\n*0\r\n";
    const wanted = [{ status: "OK" }, { error: "ERR no" }, -7, null, "\r\n+O", [null, [1], ""], []];
    for (let cut = 0; cut <= bytes.length; cut += 1) {
      const reader = new ReplyReader();
      const replies = [...reader.read(bytes.slice(0, cut)), ...reader.read(bytes.slice(cut))];
      expect(replies).toEqual(wanted);
    }
  });

  test("bytes that are not RESP2 are refused", () => {
    for (const bytes of ["HTTP/1.1 200 OK\r\n", ":x\r\n", "$1x\r\n", "*\r\n"]) {
      expect(() => new ReplyReader().read(bytes)).toThrow(/RESP2/);
    }
  });

  test("a reply nested without end is refused", () => {
    expect(() => new ReplyReader().read("*1\r\n".repeat(10))).toThrow(/nested too deeply/);
  });
});
