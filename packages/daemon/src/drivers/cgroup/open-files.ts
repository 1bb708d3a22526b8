// Files of the kernel that are read again and again and so stay open, as many as the daemon can spare. Beyond that they are
// opened for each reading, which costs three calls in the place of one.
import { closeSync, openSync, readFileSync } from 'node:fs';
import { errnoOf } from './groups.ts';
import { readOpen, readShort } from './places.ts';

/** Descriptors that may still be kept open; shared by all files. */
export interface Descriptors {
  left: number;
}

/** Half of what the process may have: sockets, pipes and the store need theirs. */
export function spareDescriptors(limitsFile = '/proc/self/limits'): Descriptors {
  const soft = /^Max open files\s+(\d+)/m.exec(readFileSync(limitsFile, 'utf8'))?.[1];
  return { left: Math.floor(Number(soft ?? 1024) / 2) };
}

export class OpenFile {
  readonly #path: string;
  readonly #descriptors: Descriptors;
  #descriptor: number | undefined;
  #isAbsent = false;

  constructor(path: string, descriptors: Descriptors) {
    this.#path = path;
    this.#descriptors = descriptors;
  }

  /** Undefined, and from then on at no cost, where the file is not there or does not answer. */
  read(): string | undefined {
    if (this.#isAbsent) return undefined;
    if (this.#descriptor !== undefined) {
      try {
        return readOpen(this.#descriptor);
      } catch (error) {
        this.close();
        // ENODEV: its group was removed; there may be another of the same name.
        if (errnoOf(error) !== 'ENODEV') return this.#absent();
      }
    }
    if (this.#descriptors.left <= 0) return readShort(this.#path);
    try {
      this.#descriptor = openSync(this.#path, 'r');
      this.#descriptors.left -= 1;
      return readOpen(this.#descriptor);
    } catch (error) {
      this.close();
      // Too many are open after all: not the file's fault.
      if (['EMFILE', 'ENFILE'].includes(errnoOf(error) ?? '')) return undefined;
      return this.#absent();
    }
  }

  #absent(): undefined {
    this.#isAbsent = true;
    return undefined;
  }

  close(): void {
    if (this.#descriptor === undefined) return;
    closeSync(this.#descriptor);
    this.#descriptor = undefined;
    this.#descriptors.left += 1;
  }
}

/** Reads a file of a few bytes; undefined where it is not there. */
export type ReadShort = (path: string) => string | undefined;

/** Open files of guests, by path. */
export class KeptFiles {
  readonly #descriptors: Descriptors;
  readonly #guests = new Map<string, Map<string, OpenFile>>();

  constructor(descriptors: Descriptors) {
    this.#descriptors = descriptors;
  }

  readerOf(id: string): ReadShort {
    const files = this.#guests.get(id) ?? new Map<string, OpenFile>();
    this.#guests.set(id, files);
    return (path) => {
      const known = files.get(path);
      if (known !== undefined) return known.read();
      const file = new OpenFile(path, this.#descriptors);
      files.set(path, file);
      return file.read();
    };
  }

  forget(id: string): void {
    for (const file of this.#guests.get(id)?.values() ?? []) file.close();
    this.#guests.delete(id);
  }
}
