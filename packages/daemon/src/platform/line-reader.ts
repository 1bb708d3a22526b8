// Splits a stream of bytes into lines of text, whatever the chunks. Lines longer than the cap are cut, their rest is
// dropped: a program that never writes a newline costs a bounded amount of memory.

const newline = 0x0a;

/** Lines come without their `\n` or `\r\n`. `end` gives the last line, when it has no newline. */
export function createLineReader(
  onLine: (line: string) => void,
  maxLineBytes = 64 * 1024,
): { push(chunk: Uint8Array): void; end(): void } {
  let pieces: Uint8Array[] = [];
  let heldBytes = 0;

  const hold = (piece: Uint8Array): void => {
    const room = piece.subarray(0, maxLineBytes - heldBytes);
    if (room.length === 0) return;
    // A copy, because the chunk's memory may be used again.
    pieces.push(Uint8Array.from(room));
    heldBytes += room.length;
  };
  const flush = (): void => {
    const text = Buffer.concat(pieces, heldBytes).toString('utf8');
    pieces = [];
    heldBytes = 0;
    onLine(text.endsWith('\r') ? text.slice(0, -1) : text);
  };

  return {
    push(chunk) {
      let start = 0;
      for (let at = chunk.indexOf(newline); at !== -1; at = chunk.indexOf(newline, start)) {
        hold(chunk.subarray(start, at));
        flush();
        start = at + 1;
      }
      hold(chunk.subarray(start));
    },
    end() {
      if (heldBytes > 0) flush();
    },
  };
}
