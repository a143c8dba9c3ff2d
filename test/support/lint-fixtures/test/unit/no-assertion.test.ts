// refused by: expect-expect
import { test } from "vitest";
test("does nothing", () => {});
