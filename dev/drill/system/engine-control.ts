/** How long a simulated engine may take to answer its control endpoint, ms. */
const answerMsMax = 5_000;

/** A fault as the simulated engine takes it; its README lists them. */
export interface EngineFault {
  readonly kind: string;
  readonly scope?: "generation" | "all";
  readonly factor?: number;
  readonly says?: "idle" | "full";
}

async function control(engineUrl: string, method: string, fault?: EngineFault): Promise<unknown> {
  const response = await fetch(new URL("/control/faults", engineUrl), {
    method,
    ...(fault === undefined ? {} : { body: JSON.stringify(fault) }),
    headers: { "content-type": "application/json" },
    signal: AbortSignal.timeout(answerMsMax),
  });
  const body: unknown = await response.json();
  if (!response.ok)
    throw new Error(`the engine refused ${method} of a fault: ${JSON.stringify(body)}`);
  return body;
}

/** Adds a fault to an engine. @throws Error when the engine does not answer or refuses it. */
export async function addFault(engineUrl: string, fault: EngineFault): Promise<void> {
  await control(engineUrl, "POST", fault);
}

/** Removes all faults of an engine. @throws Error when it does not answer. */
export async function clearFaults(engineUrl: string): Promise<void> {
  await control(engineUrl, "DELETE");
}

/** Requests that the engine's present faults have hit. @throws Error when it does not answer. */
export async function countHits(engineUrl: string): Promise<number> {
  const body = (await control(engineUrl, "GET")) as {
    readonly faults: readonly { readonly hits: number }[];
  };
  return body.faults.reduce((sum, { hits }) => sum + hits, 0);
}
