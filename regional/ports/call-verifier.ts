/** Proves that a call comes from the edge. */
export interface CallVerifier {
  /**
   * Whether the call is signed for this cell, in time and for the first time. `pathWithQuery` as received, `body` whole.
   */
  verify(
    header: (name: string) => string | null | undefined,
    method: string,
    pathWithQuery: string,
    body: Uint8Array,
  ): { readonly ok: true } | { readonly ok: false; readonly reason: string };
}
