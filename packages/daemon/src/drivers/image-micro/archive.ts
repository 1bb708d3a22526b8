// Writes the cpio archive that the kernel unpacks as its first root. Written here and not by cpio(1), because an
// ordinary user can then put device nodes and files of root into it, and equal entries give equal bytes.
// Source: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst ("newc").

export type ArchiveEntry =
  | { readonly kind: 'directory'; readonly path: string; readonly mode?: number }
  | {
      readonly kind: 'file';
      readonly path: string;
      readonly data: Uint8Array | string;
      readonly mode?: number;
    }
  | { readonly kind: 'symlink'; readonly path: string; readonly target: string }
  | {
      readonly kind: 'device';
      readonly path: string;
      readonly mode?: number;
      readonly major: number;
      readonly minor: number;
    };

const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;
const S_IFCHR = 0o020000;

/** Entries belong to root, are dated 1970, and come in the order given: a folder before what it holds. */
export function writeCpio(entries: readonly ArchiveEntry[]): Buffer {
  const parts = entries.flatMap((entry, index) => member(entry, index + 1));
  return Buffer.concat([...parts, ...trailer()]);
}

/** The folders above `paths`, each once and before what it holds. */
export function parentDirectories(paths: readonly string[]): readonly ArchiveEntry[] {
  const directories = new Set<string>();
  for (const path of paths) {
    const names = path.split('/').slice(0, -1);
    for (let depth = 1; depth <= names.length; depth += 1) directories.add(names.slice(0, depth).join('/'));
  }
  return [...directories].sort().map((path) => ({ kind: 'directory', path }));
}

function member(entry: ArchiveEntry, inode: number): Buffer[] {
  switch (entry.kind) {
    case 'directory':
      return record({ path: entry.path, inode, mode: S_IFDIR | (entry.mode ?? 0o755), links: 2 });
    case 'file':
      return record({
        path: entry.path,
        inode,
        mode: S_IFREG | (entry.mode ?? 0o644),
        data: Buffer.from(entry.data),
      });
    case 'symlink':
      return record({ path: entry.path, inode, mode: S_IFLNK | 0o777, data: Buffer.from(entry.target) });
    case 'device':
      return record({ path: entry.path, inode, mode: S_IFCHR | (entry.mode ?? 0o600), device: entry });
    default:
      return entry satisfies never;
  }
}

function trailer(): Buffer[] {
  return record({ path: 'TRAILER!!!', inode: 0, mode: 0 });
}

function record(fields: {
  readonly path: string;
  readonly inode: number;
  readonly mode: number;
  readonly links?: number;
  readonly data?: Buffer;
  readonly device?: { readonly major: number; readonly minor: number };
}): Buffer[] {
  const name = Buffer.from(`${fields.path}\0`);
  const data = fields.data ?? Buffer.alloc(0);
  const numbers = [
    fields.inode,
    fields.mode,
    0, // uid
    0, // gid
    fields.links ?? 1,
    0, // mtime
    data.length,
    0, // device of the file system
    0,
    fields.device?.major ?? 0,
    fields.device?.minor ?? 0,
    name.length,
    0, // check sum, unused in this format
  ];
  const header = `070701${numbers.map((number) => number.toString(16).toUpperCase().padStart(8, '0')).join('')}`;
  return [padded(Buffer.concat([Buffer.from(header), name])), padded(data)];
}

function padded(bytes: Buffer): Buffer {
  const missing = (4 - (bytes.length % 4)) % 4;
  return missing === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(missing)]);
}
