/**
 * What `upstash-sync-token` says: up to which write its holder has seen the data. `run` names one run of the server, so
 * that a token from before a restart is ignored and not compared with a sequence that began again.
 */
export interface SyncPoint {
  readonly run: string;
  readonly sequence: number;
}

export function formatSyncToken({ run, sequence }: SyncPoint): string {
  return `${run}:${sequence}`;
}

/** The sequence number that a client has seen; 0 for a token that is missing, unreadable or of another run. */
export function sequenceSeen(token: string | undefined, run: string): number {
  const [tokenRun, sequence = ""] = (token ?? "").split(":");
  return tokenRun === run && /^[0-9]{1,15}$/.test(sequence) ? Number(sequence) : 0;
}
