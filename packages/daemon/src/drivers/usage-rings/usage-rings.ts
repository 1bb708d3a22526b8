/**
 * The history of usage on disk: one file for each instance, of fixed size, written in place. Survives a daemon that is killed: what `add` has returned from is in
 * the kernel. A file that is none of ours is set aside and begun anew. Not synced: a crash of the host may lose the last half minute.
 *
 * A file stays open for a dozen writes at most, a minute: opening, checking and closing it each time is half of what a write costs (11 ms against 6 ms for 1,000, on an idle
 * machine), and one that was removed or replaced is noticed at the next. Above `mostOpen`, files are opened for one write: descriptors are for guests first.
 */
import { closeSync, constants, mkdirSync, openSync, readSync, renameSync, rmSync, writeSync } from 'node:fs';
import { open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { WirtError } from '@wirt/api';
import type { Logger, UsageHistoryStore, UsageSample } from '@wirt/core';
import { fsError, hasErrno } from '../../platform/fs-error.ts';
import { meansOf } from './query.ts';
import {
  coarseRing,
  decode,
  encode,
  fileBytes,
  fineRing,
  header,
  headerBytes,
  placeOf,
  recordBytes,
  type StepMean,
  stepNumber,
  together,
  valuesOf,
} from './ring-file.ts';

const { O_RDWR, O_RDONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK } = constants;
const idPattern = /^[0-9A-HJKMNP-TV-Z]{26}$/;
const writesOfOne = 12;
const mostOpen = 2_000;
/** Of a file that was set aside; the next one replaces it. */
const asideSuffix = '.damaged';

export interface UsageRingsOptions {
  readonly stateDirectory: string;
  readonly logger: Logger;
}

export function createUsageRings({ stateDirectory, logger }: UsageRingsOptions): UsageHistoryStore {
  return new UsageRings(join(stateDirectory, 'usage'), logger);
}

interface OpenRing {
  readonly file: number;
  writesLeft: number;
}

class UsageRings implements UsageHistoryStore {
  readonly #directory: string;
  readonly #logger: Logger;
  /** The coarse step that each instance is in, as its file has it, but not rounded. */
  readonly #coarse = new Map<string, StepMean>();
  readonly #open = new Map<string, OpenRing>();
  #opened = 0;
  readonly #record = Buffer.alloc(recordBytes);
  readonly #head = Buffer.alloc(headerBytes);

  constructor(directory: string, logger: Logger) {
    this.#directory = directory;
    this.#logger = logger;
  }

  add(samples: ReadonlyMap<string, UsageSample>): void {
    let failed: unknown;
    for (const [id, sample] of samples) {
      try {
        this.#addOne(id, sample);
      } catch (error) {
        // The others may have their space already.
        failed ??= error;
      }
    }
    if (failed !== undefined)
      throw fsError(failed, 'write the usage history to', this.#directory, 'store.failed');
  }

  async read(
    id: string,
    range: { readonly fromMs: number; readonly toMs: number; readonly resolutionMs: number },
  ): Promise<UsageSample[]> {
    const path = this.#pathOf(id);
    try {
      await using file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
      const bytes = Buffer.alloc(fileBytes);
      let length = 0;
      // Not by the file's own length: it is none of ours, perhaps.
      for (;;) {
        const { bytesRead } = await file.read(bytes, length, fileBytes - length, length);
        length += bytesRead;
        if (bytesRead === 0 || length === fileBytes) break;
      }
      if (!bytes.subarray(0, headerBytes).equals(header(id))) return [];
      return meansOf(bytes.subarray(0, length), range);
    } catch (error) {
      if (hasErrno(error, 'ENOENT', 'ELOOP', 'EISDIR')) return [];
      throw fsError(error, 'read the usage history in', path, 'store.failed');
    }
  }

  async forget(id: string): Promise<void> {
    this.#coarse.delete(id);
    this.#letGo(id);
    const path = this.#pathOf(id);
    for (const each of [path, path + asideSuffix]) {
      await rm(each, { force: true, recursive: true }).catch((error: unknown) => {
        throw fsError(error, 'remove the usage history', each, 'store.failed');
      });
    }
  }

  async list(): Promise<string[]> {
    const names = await readdir(this.#directory).catch((error: unknown) => {
      if (hasErrno(error, 'ENOENT')) return [];
      throw fsError(error, 'list', this.#directory, 'store.failed');
    });
    const ids = names.map((name) => (name.endsWith(asideSuffix) ? name.slice(0, -asideSuffix.length) : name));
    return [...new Set(ids)].filter((id) => idPattern.test(id)).sort();
  }

  close(): void {
    for (const id of [...this.#open.keys()]) this.#letGo(id);
    this.#coarse.clear();
  }

  #pathOf(id: string): string {
    if (!idPattern.test(id))
      throw new WirtError('internal', `${JSON.stringify(id)} is no id of an instance.`);
    return join(this.#directory, id);
  }

  #addOne(id: string, sample: UsageSample): void {
    const file = this.#fileOf(id);
    try {
      const values = valuesOf(sample);
      const fine = { step: stepNumber(fineRing, sample.atMs), count: 1, values };
      this.#write(file, placeOf(fineRing, fine.step), fine);
      const step = stepNumber(coarseRing, sample.atMs);
      const mean = together(this.#coarseOf(id, file, step), { step, count: 1, values });
      this.#write(file, placeOf(coarseRing, step), mean);
      this.#coarse.set(id, mean);
    } catch (error) {
      this.#letGo(id);
      throw error;
    }
    const open = this.#open.get(id);
    if (open !== undefined && --open.writesLeft <= 0) this.#letGo(id);
  }

  /** Open, and good when it was opened. */
  #fileOf(id: string): number {
    const open = this.#open.get(id);
    if (open !== undefined) return open.file;
    const file = this.#openFile(id);
    // Not all in the same pass.
    const writes = writesOfOne - (this.#opened++ % writesOfOne);
    this.#open.set(id, { file, writesLeft: this.#open.size < mostOpen ? writes : 1 });
    return file;
  }

  #letGo(id: string): void {
    const open = this.#open.get(id);
    if (open === undefined) return;
    this.#open.delete(id);
    closeSync(open.file);
  }

  #write(file: number, place: number, mean: StepMean): void {
    encode(mean, this.#record);
    for (let done = 0; done < recordBytes; )
      done += writeSync(file, this.#record, done, recordBytes - done, place + done);
  }

  /** Of the step: what this daemon knows of it, or an earlier one has left. */
  #coarseOf(id: string, file: number, step: number): StepMean | undefined {
    const known = this.#coarse.get(id);
    if (known?.step === step) return known;
    const length = readSync(file, this.#record, 0, recordBytes, placeOf(coarseRing, step));
    return decode(this.#record.subarray(0, length), 0);
  }

  /** The instance's own file, for reading and writing, with a good header. */
  #openFile(id: string): number {
    const path = this.#pathOf(id);
    const found = this.#openExisting(path);
    if (found !== undefined) {
      const length = readSync(found, this.#head, 0, headerBytes, 0);
      if (length === headerBytes && this.#head.equals(header(id))) return found;
      closeSync(found);
      this.#setAside(path, length);
    }
    this.#coarse.delete(id);
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    const made = openSync(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
    try {
      writeSync(made, header(id), 0, headerBytes, 0);
    } catch (error) {
      closeSync(made);
      throw error;
    }
    return made;
  }

  #openExisting(path: string): number | undefined {
    try {
      return openSync(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK);
    } catch (error) {
      if (hasErrno(error, 'ENOENT')) return undefined;
      if (!hasErrno(error, 'ELOOP', 'EISDIR', 'ENXIO')) throw error;
      this.#setAside(path, 1);
      return undefined;
    }
  }

  /** An empty one is what a full disk or a death between two calls leaves: nothing to keep, and nothing to tell. */
  #setAside(path: string, length: number): void {
    rmSync(path + asideSuffix, { recursive: true, force: true });
    renameSync(path, path + asideSuffix);
    if (length > 0) this.#logger.warn('usage.history_damaged', { path, setAsideAs: path + asideSuffix });
  }
}
