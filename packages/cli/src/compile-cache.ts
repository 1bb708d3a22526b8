/**
 * Where Node keeps the compiled code of this command between starts: a folder of this user. One that others can write
 * to, as Node's own default below /tmp may be, would let them run code as us.
 */

/** Undefined when there is no such place; then every start compiles anew. */
export function compileCacheFolder(
  uid: number | undefined,
  env: Readonly<Record<string, string | undefined>>,
): string | undefined {
  // With sudo, HOME may be that of somebody else.
  if (uid === 0) return '/var/cache/wirt/node';
  const { XDG_CACHE_HOME: cache = '', HOME: home = '' } = env;
  if (cache.startsWith('/')) return `${cache}/wirt/node`;
  return home.startsWith('/') ? `${home}/.cache/wirt/node` : undefined;
}
