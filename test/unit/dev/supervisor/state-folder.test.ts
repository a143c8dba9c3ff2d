import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { addReceiptKey } from "#dev/supervisor/receipt-keys.ts";
import { loadSecrets, receiptPublicKey, saveSecrets } from "#dev/supervisor/secrets.ts";
import { StartError, openStateFolder } from "#dev/supervisor/state-folder.ts";

let path: string;
beforeEach(() => {
  path = mkdtempSync(join(tmpdir(), "meridian-state-"));
});
afterEach(() => rmSync(path, { recursive: true, force: true }));

describe("the state folder", () => {
  test("is made where there is none, and let go", () => {
    const folder = openStateFolder(join(path, "new", "state"), false);
    expect(existsSync(join(path, "new", "state", "supervisor.pid"))).toBe(true);
    folder.release();
    expect(existsSync(join(path, "new", "state", "supervisor.pid"))).toBe(false);
  });

  test("is taken over from a supervisor that was killed", () => {
    // The highest process id that Linux knows is 2^22.
    writeFileSync(join(path, "supervisor.pid"), "4194304");
    expect(() => openStateFolder(path, false)).not.toThrow();
  });

  test("loses what was kept with --fresh, and nothing that is not ours", () => {
    const folder = openStateFolder(path, false);
    mkdirSync(folder.file("databases"));
    writeFileSync(folder.file("secrets.json"), "{}");
    writeFileSync(join(path, "notes.txt"), "mine");
    folder.release();
    openStateFolder(path, true);
    expect(existsSync(folder.file("databases"))).toBe(false);
    expect(existsSync(folder.file("secrets.json"))).toBe(false);
    expect(readFileSync(join(path, "notes.txt"), "utf8")).toBe("mine");
  });

  test("is not emptied where it was never ours", () => {
    writeFileSync(join(path, "secrets.json"), "mine");
    expect(() => openStateFolder(path, true)).toThrow(StartError);
    expect(readFileSync(join(path, "secrets.json"), "utf8")).toBe("mine");
  });

  test("may hold nothing but the receipt keys of other state folders", () => {
    writeFileSync(join(path, "receipt-keys.json"), "{}");
    expect(() => openStateFolder(path, true)).not.toThrow();
  });
});

describe("kept secrets", () => {
  test("are the same when read again, for this user only", () => {
    const file = join(path, "secrets.json");
    const secrets = loadSecrets(file);
    saveSecrets(file, secrets);
    expect(loadSecrets(file)).toStrictEqual(secrets);
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  test.each(["", "{}", '{"v":2}', "[1"])("that cannot be read are refused: %j", (text) => {
    const file = join(path, "secrets.json");
    writeFileSync(file, text);
    expect(() => loadSecrets(file)).toThrow("--fresh");
  });
});

describe("published receipt keys", () => {
  function publish(): string {
    const key = receiptPublicKey(loadSecrets(join(path, "none.json")));
    addReceiptKey(join(path, "keys.json"), key);
    return key["kid"] ?? "";
  }
  function read(): readonly Record<string, string>[] {
    const text = readFileSync(join(path, "keys.json"), "utf8");
    return (JSON.parse(text) as { keys: Record<string, string>[] }).keys;
  }

  test("hold no private part", () => {
    publish();
    expect(Object.keys(read()[0] ?? {}).toSorted()).toStrictEqual([
      "alg",
      "crv",
      "kid",
      "kty",
      "use",
      "x",
    ]);
  });

  test("keep the keys of other folders, and sixteen at most", () => {
    const kids = Array.from({ length: 17 }, publish);
    expect(read().map((key) => key["kid"])).toStrictEqual(kids.slice(1).toReversed());
  });

  test("replace a file that is none", () => {
    writeFileSync(join(path, "keys.json"), "garbage");
    const kid = publish();
    expect(read().map((key) => key["kid"])).toStrictEqual([kid]);
  });
});
