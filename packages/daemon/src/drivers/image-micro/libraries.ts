// Which shared libraries a program needs: the closure of DT_NEEDED, and the guess which Debian package has one of them.
// Pure: reading files and fetching packages is the caller's.
import type { ElfLinkage } from './elf.ts';

export interface LibraryClosure {
  /** Sonames, the program interpreter among them, each once. */
  readonly found: readonly string[];
  /** Named by somebody and not to be had from `linkageOf`. */
  readonly missing: readonly string[];
}

/** Walks from `program`; `linkageOf` gives the linkage of a library by its soname, or undefined while there is none. */
export function libraryClosure(
  program: ElfLinkage,
  linkageOf: (soname: string) => ElfLinkage | undefined,
): LibraryClosure {
  const found = new Set<string>();
  const missing = new Set<string>();
  const pending = [
    ...program.needed,
    ...(program.interpreter === undefined ? [] : [fileName(program.interpreter)]),
  ];
  for (let soname = pending.shift(); soname !== undefined; soname = pending.shift()) {
    if (found.has(soname) || missing.has(soname)) continue;
    const linkage = linkageOf(soname);
    if (linkage === undefined) missing.add(soname);
    else {
      found.add(soname);
      pending.push(...linkage.needed);
    }
  }
  return { found: [...found].sort(), missing: [...missing].sort() };
}

/**
 * The packages among `dependencies` to look into for `sonames`. Those named as Debian policy 8.1 says (`libfoo.so.1` in
 * `libfoo1`, `libfoo2.so.0` in `libfoo2-0`) when there are any, otherwise every library among them.
 */
export function likelyPackages(
  sonames: readonly string[],
  dependencies: readonly string[],
): readonly string[] {
  const libraries = dependencies.filter((name) => name.startsWith('lib'));
  const expected = new Set(sonames.map(policyName));
  const named = libraries.filter((name) => expected.has(withoutDashes(name.replace(/t64$/, ''))));
  return named.length > 0 ? named : libraries;
}

/** The names of a `Depends` field: of alternatives the first, without versions and architectures. */
export function dependencyNames(depends: string): readonly string[] {
  return depends
    .split(',')
    .map((item) => /^\s*([a-z0-9][a-z0-9.+-]*)/.exec(item)?.[1])
    .filter((name) => name !== undefined);
}

/** Dashes do not count: `libglib-2.0.so.0` is in `libglib2.0-0`. */
function policyName(soname: string): string {
  const match = /^(.+)\.so\.(.+)$/.exec(soname);
  return withoutDashes(match === null ? soname : `${match[1]}${match[2]}`);
}

function withoutDashes(name: string): string {
  return name.toLowerCase().replaceAll(/[-_]/g, '');
}

function fileName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
