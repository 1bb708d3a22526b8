/**
 * Moves bytes between open files, at given places and never at a file's own position: in pieces, with an abort between
 * any two, and with holes where there are only zeros.
 */
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { createSpaceGuard } from '../../platform/free-space.ts';

const PIECE_BYTES = 1024 * 1024;
/** Runs of zeros of this size, at a multiple of it, become holes. */
const HOLE_BYTES = 64 * 1024;
const zeros = Buffer.alloc(HOLE_BYTES);

export interface Range {
  readonly offset: number;
  readonly length: number;
}

/** Each piece is good until the next one is asked for. Ends early where the file ends. */
export async function* readRange(
  handle: FileHandle,
  { offset, length }: Range,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const buffer = Buffer.allocUnsafe(Math.min(PIECE_BYTES, Math.max(length, 1)));
  for (let done = 0; done < length; ) {
    signal.throwIfAborted();
    const wanted = Math.min(buffer.length, length - done);
    const { bytesRead } = await handle.read(buffer, 0, wanted, offset + done);
    if (bytesRead === 0) return;
    done += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

export async function writeAt(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}

export interface SparseWriter {
  /** Bytes that were given so far, holes too. */
  readonly sizeBytes: number;
  append(piece: Uint8Array): Promise<void>;
  /** Gives the file its size. */
  end(): Promise<void>;
}

/** Writes an empty file from its start, as long as its file system does not become full: `host.storage_full`. `path` is for messages. */
export function sparseWriter(handle: FileHandle, path?: string): SparseWriter {
  let position = 0;
  const guard = createSpaceGuard(`/proc/self/fd/${handle.fd}`, path === undefined ? {} : { shownAs: path });
  const write = async (bytes: Uint8Array, at: number): Promise<void> => {
    if (bytes.length > 0) await guard.before(bytes.length);
    await writeAt(handle, bytes, at);
  };
  return {
    get sizeBytes() {
      return position;
    },
    async append(piece) {
      let from = 0;
      for (let at = 0; at < piece.length; ) {
        const next = Math.min(piece.length, at + HOLE_BYTES - ((position + at) % HOLE_BYTES));
        if (isZero(piece.subarray(at, next))) {
          await write(piece.subarray(from, at), position + from);
          from = next;
        }
        at = next;
      }
      await write(piece.subarray(from), position + from);
      position += piece.length;
    },
    end: () => handle.truncate(position),
  };
}

function isZero(bytes: Uint8Array): boolean {
  return zeros.compare(bytes, 0, bytes.length, 0, bytes.length) === 0;
}

export interface DigestOptions extends Partial<Range> {
  readonly algorithm?: 'sha1' | 'sha256' | 'sha512';
  readonly signal: AbortSignal;
  onProgress?(doneBytes: number): void;
}

/** Lower-case hexadecimal. */
export async function digestOf(handle: FileHandle, options: DigestOptions): Promise<string> {
  const { algorithm = 'sha256', offset = 0, length = Number.MAX_SAFE_INTEGER, signal } = options;
  const hash = createHash(algorithm);
  let done = 0;
  for await (const piece of readRange(handle, { offset, length }, signal)) {
    hash.update(piece);
    done += piece.length;
    options.onProgress?.(done);
  }
  return hash.digest('hex');
}
