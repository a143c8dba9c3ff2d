/** W3C Trace Context: `00-<trace id>-<parent id>-<flags>`, made anew at the edge and carried to the shard. */
const pattern = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

/** The trace id of a well-formed version 00 `traceparent`, or null; all-zero ids are invalid (W3C Trace Context, 3.2.2). */
export function traceIdOf(traceparent: string): string | null {
  const match = pattern.exec(traceparent);
  if (match === null) return null;
  const [, traceId, parentId] = match;
  if (traceId === undefined || parentId === undefined) return null;
  if (/^0+$/.test(traceId) || /^0+$/.test(parentId)) return null;
  return traceId;
}

/** A `traceparent` of `traceId` (32 hex digits) and `spanId` (16 hex digits), sampled. */
export function formatTraceparent(traceId: string, spanId: string): string {
  return `00-${traceId}-${spanId}-01`;
}

/** The caller's trace with `spanId` as the new parent; a new trace `newTraceId` when the caller's is none. */
export function continueTrace(traceparent: string, newTraceId: string, spanId: string): string {
  return formatTraceparent(traceIdOf(traceparent) ?? newTraceId, spanId);
}
