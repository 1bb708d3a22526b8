// Which uids guests may get: the default range, the place in it where the search for an id begins, and what the host's own
// account files already have there. Pure.

export interface UidRange {
  readonly first: number;
  /** How many, from `first` on; gids are the same numbers. */
  readonly count: number;
}

/**
 * 0x7F000000 and the 65,535 after it: above everything that hands out ids by itself (systemd: 60001–65519, containers
 * 524288–1879048191; Debian's subordinate ids: 100000–600100000; SSSD and FreeIPA by default: 200000–2000200000),
 * below systemd's foreign range (2147352576 on) and below 2^31, where some programs and file systems go wrong.
 * Sources: systemd's docs/UIDS-GIDS.md, login.defs(5), sssd-ad(5).
 */
export const defaultUidRange: UidRange = { first: 0x7f00_0000, count: 65_536 };

/** Where to begin for an id (FNV-1a, 32 bits), so that daemons that know nothing of each other seldom meet. */
export function startOffset(id: string, count: number): number {
  let hash = 0x811c_9dc5;
  for (let index = 0; index < id.length; index += 1)
    hash = Math.imul(hash ^ id.charCodeAt(index), 0x0100_0193) >>> 0;
  return hash % count;
}

/** Whether the host gave a uid or gid away. */
export type Occupied = (uid: number) => boolean;

/** `accounts`: texts of /etc/passwd and /etc/group; `subordinate`: of /etc/subuid and /etc/subgid. */
export function occupiedBy(accounts: readonly string[], subordinate: readonly string[]): Occupied {
  const single = new Set(accounts.flatMap((text) => fields(text).map((field) => Number(field[2]))));
  const ranges = subordinate.flatMap((text) =>
    fields(text).map((field) => ({ first: Number(field[1]), end: Number(field[1]) + Number(field[2]) })),
  );
  return (uid) => single.has(uid) || ranges.some(({ first, end }) => uid >= first && uid < end);
}

function fields(text: string): string[][] {
  return text
    .split('\n')
    .filter((line) => line.includes(':') && !line.startsWith('#'))
    .map((line) => line.split(':'));
}
