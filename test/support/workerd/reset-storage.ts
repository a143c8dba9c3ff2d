import { reset } from "cloudflare:test";
import { afterEach } from "vitest";

// Storage is isolated per file, not per test; without this alarms outlive their test.
afterEach(() => reset());
