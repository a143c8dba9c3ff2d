import type { Clock } from "../ports/clock.ts";
import { noExtensions, readExtensions } from "./dialect.ts";
import type { EngineExtensions } from "./dialect.ts";

/** How long an answer about a server is believed, ms: a redeployed server may be another version. */
const believedMs = 300_000;
/** How soon a server that could not be asked is asked again, ms. */
const retryMs = 10_000;

/** What a shard's server understands, learned when it is first needed and again from time to time. */
export interface Capabilities {
  /**
   * What the server understands. Waits only while nothing is known at all: without its salt a prompt would share cached
   * prefixes with other tenants. A server that cannot be asked gets OpenAI's API alone.
   */
  current(): Promise<EngineExtensions>;
  /** What is known without waiting. */
  known(): EngineExtensions;
  /** Asks the server unless an answer is fresh; never rejects. */
  refresh(): Promise<void>;
}

/** @param readJson the JSON at a path of the server, or null when there is none within the adapter's time. */
export function createCapabilities(
  known: EngineExtensions | null,
  readJson: (path: "models" | "version") => Promise<unknown>,
  clock: Clock,
): Capabilities {
  let extensions = known ?? noExtensions;
  let freshUntilMs = known === null ? 0 : Number.POSITIVE_INFINITY;
  let isKnown = known !== null;
  let asking: Promise<void> | null = null;

  async function ask(): Promise<void> {
    const models = await readJson("models");
    if (models === null) {
      freshUntilMs = clock.nowMs() + retryMs;
      return;
    }
    extensions = readExtensions(models, await readJson("version"));
    isKnown = true;
    freshUntilMs = clock.nowMs() + believedMs;
  }

  function refresh(): Promise<void> {
    if (clock.nowMs() < freshUntilMs) return Promise.resolve();
    asking ??= ask().finally(() => {
      asking = null;
    });
    return asking;
  }

  return {
    async current() {
      const asked = refresh();
      if (!isKnown) await asked;
      return extensions;
    },
    known: () => extensions,
    refresh,
  };
}
