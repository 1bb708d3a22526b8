// Reads small files of /proc, /sys and /etc. What is not there or may not be read is undefined, since every host lacks some
// of them; below another root for tests. However many are asked for at once, few are open: a host of 4096 processors has
// more of these files than a process may open.
import { open, readdir, readFile, readlink, realpath, stat } from 'node:fs/promises';
import { posix } from 'node:path';

export interface HostFiles {
  text(path: string): Promise<string | undefined>;
  /** The first line, trimmed. */
  line(path: string): Promise<string | undefined>;
  number(path: string): Promise<number | undefined>;
  /** At most `bytes` of the beginning: some files grow with the machine. */
  head(path: string, bytes: number): Promise<string>;
  /** Entries, sorted; none for what is no directory. */
  list(path: string): Promise<string[]>;
  exists(path: string): Promise<boolean>;
  /** The last part of what a symbolic link points to. */
  linkName(path: string): Promise<string | undefined>;
  /** The path without symbolic links, below the root. */
  realPath(path: string): Promise<string | undefined>;
  mode(
    path: string,
  ): Promise<{ readonly mode: number; readonly uid: number; readonly gid: number } | undefined>;
  /** Whether it opens for reading and writing; the errno when not. */
  opens(path: string): Promise<true | string>;
}

const nothing = (): undefined => undefined;
const maxOpen = 64;

export function createHostFiles(root = '/'): HostFiles {
  const at = (path: string): string => posix.join(root, path);
  const inGate = createGate(maxOpen);
  const text = (path: string): Promise<string | undefined> =>
    inGate(() => readFile(at(path), 'utf8')).catch(nothing);
  const line = async (path: string): Promise<string | undefined> =>
    (await text(path))?.split('\n')[0]?.trim();

  return {
    text,
    line,
    async number(path) {
      const value = Number((await line(path)) || Number.NaN);
      return Number.isFinite(value) ? value : undefined;
    },
    async head(path, bytes) {
      const file = await open(at(path)).catch(nothing);
      if (file === undefined) return '';
      try {
        const { buffer, bytesRead } = await file.read(Buffer.alloc(bytes), 0, bytes, null);
        return buffer.toString('utf8', 0, bytesRead);
      } finally {
        await file.close();
      }
    },
    async list(path) {
      return ((await readdir(at(path)).catch(nothing)) ?? []).toSorted();
    },
    async exists(path) {
      return (await stat(at(path)).catch(nothing)) !== undefined;
    },
    async linkName(path) {
      const target = await readlink(at(path)).catch(nothing);
      return target === undefined ? undefined : posix.basename(target);
    },
    async realPath(path) {
      const [base, found] = await Promise.all([
        realpath(root).catch(nothing),
        realpath(at(path)).catch(nothing),
      ]);
      if (base === undefined || found === undefined) return undefined;
      return posix.join('/', posix.relative(base, found));
    },
    async mode(path) {
      const found = await stat(at(path)).catch(nothing);
      return found && { mode: found.mode & 0o777, uid: found.uid, gid: found.gid };
    },
    async opens(path) {
      try {
        await (await open(at(path), 'r+')).close();
        return true;
      } catch (error) {
        return (error as NodeJS.ErrnoException).code ?? 'failed';
      }
    },
  };
}

/** At most `width` at the same time; the others wait their turn. */
function createGate(width: number): <T>(work: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = [];
  let free = width;
  return async (work) => {
    if (free > 0) free -= 1;
    else await new Promise<void>((resolve) => void waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next === undefined) free += 1;
      else next();
    }
  };
}
