/**
 * The file a download goes into, and the record beside it (`<target>.part.json`) that says of which address, in which
 * version, and how much of it is durable: only that is continued, also after a crash of the host. The digest covers every
 * byte of the file, those of earlier fetches too.
 */
import { createHash, type Hash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, readFile, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncDirectory, writeFileAtomically } from '../../platform/atomic-file.ts';
import { createSpaceGuard, requireFreeSpace, type SpaceGuard } from '../../platform/free-space.ts';
import { fsError } from '../../platform/fs-error.ts';

const readBytes = 1024 * 1024;

interface PartRecord {
  /** SHA-256 of the address, which may have a secret in its query. */
  readonly address: string;
  /** For `If-Range`: the server's name of this version of the file. */
  readonly validator: string;
  readonly durableBytes: number;
}

export class PartFile implements AsyncDisposable {
  readonly #path: string;
  readonly #address: string;
  readonly #checkpointBytes: number;
  readonly #file: FileHandle;
  readonly #guard: SpaceGuard;
  #hash: Hash = createHash('sha256');
  #bytes = 0;
  #durableBytes = 0;
  #validator: string | undefined;

  private constructor(path: string, address: string, checkpointBytes: number, file: FileHandle) {
    this.#path = path;
    this.#checkpointBytes = checkpointBytes;
    this.#address = address;
    this.#file = file;
    this.#guard = createSpaceGuard(path);
  }

  /**
   * Opens or makes the file, and reads again what can be continued. A crash of the host costs `checkpointBytes` at most.
   * Throws `host.*` errors and the signal's reason.
   */
  static async open(
    path: string,
    { url, checkpointBytes, signal }: { url: string; checkpointBytes: number; signal: AbortSignal },
  ): Promise<PartFile> {
    const address = createHash('sha256').update(url).digest('hex');
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW;
    let file: FileHandle | undefined;
    try {
      file = await open(path, flags, 0o600);
      const part = new PartFile(path, address, checkpointBytes, file);
      await part.#takeUp(signal);
      return part;
    } catch (error) {
      await file?.close();
      signal.throwIfAborted();
      throw fsError(error, 'open the download', path);
    }
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** There when the file can be continued. */
  get validator(): string | undefined {
    return this.#validator;
  }

  async #takeUp(signal: AbortSignal): Promise<void> {
    const record = await readRecord(this.#recordPath);
    const { size } = await this.#file.stat();
    // An empty file or one without a record is started anew, and so is what was lost of a file.
    if (record?.address !== this.#address || record.durableBytes === 0 || size < record.durableBytes) {
      return await this.restart(undefined);
    }
    await this.#file.truncate(record.durableBytes);
    const buffer = Buffer.allocUnsafe(readBytes);
    while (this.#bytes < record.durableBytes) {
      signal.throwIfAborted();
      const { bytesRead } = await this.#file.read(buffer, 0, readBytes, this.#bytes);
      if (bytesRead === 0) return await this.restart(undefined);
      this.#hash.update(buffer.subarray(0, bytesRead));
      this.#bytes += bytesRead;
    }
    this.#durableBytes = this.#bytes;
    this.#validator = record.validator;
  }

  /** Empties the file; what comes now is of the version `validator`, if the server has a name for it. */
  async restart(validator: string | undefined): Promise<void> {
    try {
      // The record goes first: it must never speak of bytes of another version.
      await rm(this.#recordPath, { force: true });
      await this.#file.truncate(0);
    } catch (error) {
      throw fsError(error, 'empty', this.#path);
    }
    this.#hash = createHash('sha256');
    this.#bytes = 0;
    this.#durableBytes = 0;
    this.#validator = validator;
  }

  async append(chunk: Uint8Array): Promise<void> {
    try {
      await this.#guard.before(chunk.length);
      for (let done = 0; done < chunk.length; ) {
        const left = chunk.length - done;
        const { bytesWritten } = await this.#file.write(chunk, done, left, this.#bytes + done);
        done += bytesWritten;
      }
    } catch (error) {
      throw fsError(error, 'write', this.#path);
    }
    this.#hash.update(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes - this.#durableBytes >= this.#checkpointBytes) await this.keep();
  }

  /** Makes what has come durable, to be continued later; removes what cannot be continued. */
  async keep(): Promise<void> {
    if (this.#validator === undefined || this.#bytes === 0) return;
    try {
      await this.#file.datasync();
      const record: PartRecord = {
        address: this.#address,
        validator: this.#validator,
        durableBytes: this.#bytes,
      };
      await writeFileAtomically(this.#recordPath, JSON.stringify(record), { mode: 0o600 });
      this.#durableBytes = this.#bytes;
    } catch (error) {
      throw fsError(error, 'write', this.#path);
    }
  }

  /** Throws `host.storage_full` when that many more bytes would fill the file system. */
  async requireRoom(bytes: number): Promise<void> {
    await requireFreeSpace(this.#path, bytes);
  }

  /** SHA-256 of the whole file in hexadecimal. */
  digest(): string {
    return this.#hash.copy().digest('hex');
  }

  /** The file is whole: makes it durable. */
  async finish(): Promise<void> {
    try {
      await this.#file.sync();
      await rm(this.#recordPath, { force: true });
      await syncDirectory(dirname(this.#path));
    } catch (error) {
      throw fsError(error, 'write', this.#path);
    }
  }

  async discard(): Promise<void> {
    await rm(this.#recordPath, { force: true });
    await rm(this.#path, { force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }

  get #recordPath(): string {
    return `${this.#path}.part.json`;
  }
}

/** Undefined when there is none, or none that can be used. */
async function readRecord(path: string): Promise<PartRecord | undefined> {
  try {
    const record: unknown = JSON.parse(await readFile(path, 'utf8'));
    return isRecord(record) ? record : undefined;
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is PartRecord {
  if (typeof value !== 'object' || value === null) return false;
  const { address, validator, durableBytes } = value as Record<string, unknown>;
  return (
    typeof address === 'string' &&
    typeof validator === 'string' &&
    typeof durableBytes === 'number' &&
    Number.isSafeInteger(durableBytes) &&
    durableBytes >= 0
  );
}
