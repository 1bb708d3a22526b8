/**
 * Files inside of packages that were opened and not unpacked, by the paths that they would have if the package were a folder. They can be
 * looked into there, for as long as the package is open.
 */
import { type OpenedFile, openRegularFile } from './regular-file.ts';

export interface PackageMember {
  readonly archive: string;
  readonly offset: number;
  readonly sizeBytes: number;
}

export class PackageMembers {
  readonly #members = new Map<string, { readonly member: PackageMember; count: number }>();

  get(path: string): PackageMember | undefined {
    return this.#members.get(path)?.member;
  }

  /** The same package may be open several times. */
  add(path: string, member: PackageMember): void {
    const count = this.#members.get(path)?.count ?? 0;
    this.#members.set(path, { member, count: count + 1 });
  }

  delete(path: string): void {
    const found = this.#members.get(path);
    if (found === undefined) return;
    found.count -= 1;
    if (found.count === 0) this.#members.delete(path);
  }
}

/** `offset`: where in the file of its handle it begins. Throws as `openRegularFile`. */
export async function openMember(
  { archive, offset, sizeBytes }: PackageMember,
  path: string,
): Promise<OpenedFile> {
  const { handle, reader, ...file } = await openRegularFile(archive);
  return {
    ...file,
    path,
    handle,
    sizeBytes,
    offset,
    reader: {
      sizeBytes,
      read: (at, length) => reader.read(offset + at, Math.max(0, Math.min(length, sizeBytes - at))),
    },
  };
}
