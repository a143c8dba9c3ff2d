const idLine = /^id: (\d+)$/;

/** The seq of one client frame's text, or null when it has none. */
function seqOfBlock(block: string): number | null {
  const lineEnd = block.indexOf("\n");
  const match = idLine.exec(lineEnd < 0 ? block : block.slice(0, lineEnd));
  return match === null ? null : Number(match[1]);
}

/**
 * The part of `text` (whole client frames, ascending) whose frames come after `afterSeq`. Linear in the frames skipped.
 * Frames without an id are dropped: they are comments.
 */
export function framesAfter(text: string, afterSeq: number): string {
  let start = 0;
  while (start < text.length) {
    const end = text.indexOf("\n\n", start);
    const next = end < 0 ? text.length : end + 2;
    const seq = seqOfBlock(text.slice(start, next));
    if (seq !== null && seq > afterSeq) return text.slice(start);
    start = next;
  }
  return "";
}

/** The highest seq in `text`, or `otherwise` when it holds no frame. */
export function lastSeqOf(text: string, otherwise: number): number {
  let end = text.length;
  while (end > 0) {
    const border = text.lastIndexOf("\n\n", end - 3);
    const start = border < 0 ? 0 : border + 2;
    const seq = seqOfBlock(text.slice(start, end));
    if (seq !== null) return seq;
    end = start;
  }
  return otherwise;
}

/** Bytes of `text` in UTF-8, without encoding it. Lone surrogates count three, as encoders replace them. */
export function utf8Bytes(text: string): number {
  let bytes = 0;
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code < 0x80) bytes += 1;
    else if (code < 0x800) bytes += 2;
    else if (code >= 0xd800 && code < 0xdc00 && index + 1 < text.length) {
      const next = text.charCodeAt(index + 1);
      if (next >= 0xdc00 && next < 0xe000) {
        bytes += 4;
        index += 1;
      } else bytes += 3;
    } else bytes += 3;
  }
  return bytes;
}
