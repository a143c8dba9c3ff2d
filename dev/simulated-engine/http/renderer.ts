/** The shape of one API's answers. */
import type { Usage } from "./generation.ts";
import type { OutputPiece } from "./choice-output.ts";

export interface Renderer {
  /** Chunks before the first piece. */
  begin(): readonly object[];
  /** Chunks of one piece. */
  piece(piece: OutputPiece): readonly object[];
  /** The chunk that only has the usage. */
  usageChunk(usage: Usage): object;
  /** The whole answer, of all pieces so far. */
  body(usage: Usage): object;
}
