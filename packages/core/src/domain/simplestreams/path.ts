/** Paths inside a catalogue: below its root, and never anywhere else. Pure. */

/** Why `path` cannot be one, completing "the path …"; undefined when it can. */
export function pathProblem(path: unknown): string | undefined {
  if (typeof path !== 'string' || path === '') return 'is missing';
  if (path.length > 500) return 'is longer than 500 characters';
  // Backslashes are slashes to URL parsers.
  if (/[\p{C}\\?#]/u.test(path)) return 'has characters that no path has';
  if (path.startsWith('/')) return 'is not relative';
  if (path.split('/').some((segment) => segment === '' || segment === '.' || segment === '..')) {
    return 'leads elsewhere';
  }
  return undefined;
}

/** The address of `path`, which was found to be one, below `root`. A percent sign in it is meant as itself. */
export function urlBelow(root: string, path: string): string {
  const segments = path.split('/').map((segment) => encodeURIComponent(segment).replaceAll('%3A', ':'));
  return `${root.replace(/\/+$/, '')}/${segments.join('/')}`;
}
