/**
 * Cuts a byte stream into lines, whatever the chunks. Holds at most `maxLineBytes` of an unfinished line; a longer
 * one throws `LineTooLong` and the splitter is then spent. Knows nothing of what is in the lines.
 */

export class LineTooLong extends Error {
  override readonly name = 'LineTooLong';
  readonly code = 'line_too_long';

  constructor(maxLineBytes: number) {
    super(`a line is longer than ${maxLineBytes} bytes`);
  }
}

export interface LineSplitter {
  /** Calls `onLine` once per finished line, in order, without the newline and a carriage return before it. */
  push(chunk: Uint8Array): void;
  /** Forgets the unfinished line. */
  reset(): void;
  /** Bytes of the unfinished line. */
  readonly bufferedBytes: number;
  /** May be changed between lines. */
  maxLineBytes: number;
}

const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const SMALL_BUFFER_BYTES = 4096;
const KEPT_BUFFER_BYTES = 256 * 1024;

export function createLineSplitter(options: {
  maxLineBytes: number;
  onLine: (line: string) => void;
}): LineSplitter {
  const { onLine } = options;
  // One growing buffer and no list of chunks: a peer that sends byte by byte would make millions of small objects.
  let held = Buffer.allocUnsafe(SMALL_BUFFER_BYTES);
  let heldBytes = 0;

  const hold = (bytes: Uint8Array): void => {
    const needed = heldBytes + bytes.length;
    if (needed > splitter.maxLineBytes) throw new LineTooLong(splitter.maxLineBytes);
    if (needed > held.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, held.length * 2));
      held.copy(grown, 0, 0, heldBytes);
      held = grown;
    }
    held.set(bytes, heldBytes);
    heldBytes = needed;
  };

  const release = (): void => {
    heldBytes = 0;
    if (held.length > KEPT_BUFFER_BYTES) held = Buffer.allocUnsafe(SMALL_BUFFER_BYTES);
  };

  const emit = (bytes: Buffer, start: number, newline: number): void => {
    if (newline - start > splitter.maxLineBytes) throw new LineTooLong(splitter.maxLineBytes);
    const end = newline > start && bytes[newline - 1] === CARRIAGE_RETURN ? newline - 1 : newline;
    onLine(bytes.toString('utf8', start, end));
  };

  const splitter: LineSplitter = {
    maxLineBytes: options.maxLineBytes,
    get bufferedBytes() {
      return heldBytes;
    },
    reset: release,
    push(chunk) {
      const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
      let start = 0;
      for (let newline = bytes.indexOf(NEWLINE); newline !== -1; newline = bytes.indexOf(NEWLINE, start)) {
        if (heldBytes === 0) {
          emit(bytes, start, newline);
        } else {
          hold(bytes.subarray(start, newline));
          const [line, lineBytes] = [held, heldBytes];
          release();
          emit(line, 0, lineBytes);
        }
        start = newline + 1;
      }
      if (start < bytes.length) hold(bytes.subarray(start));
    },
  };
  return splitter;
}
