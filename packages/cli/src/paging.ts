/** Reads lists page by page, as far as asked. */

/** The daemon's largest page. */
const maxPage = 1000;
export const defaultLimit = 100;

interface Page<T> {
  readonly items: T[];
  readonly next?: string | undefined;
}

export interface Listed<T> {
  readonly items: T[];
  /** Whether there are more than were asked for. */
  readonly more: boolean;
}

/** Reads up to `limit` items; all of them when it is `all`. */
export async function readPages<T>(
  page: (query: { limit: number; cursor?: string }) => Promise<Page<T>>,
  limit: number | 'all',
): Promise<Listed<T>> {
  const items: T[] = [];
  let cursor: string | undefined;
  for (;;) {
    const wanted = limit === 'all' ? maxPage : Math.min(maxPage, limit - items.length);
    const { items: found, next } = await page({ limit: wanted, ...(cursor === undefined ? {} : { cursor }) });
    items.push(...found);
    const enough = limit !== 'all' && items.length >= limit;
    // A cursor that stands still would never end.
    if (next === undefined || next === cursor || enough) return { items, more: next !== undefined };
    cursor = next;
  }
}

export const pagingOptions = {
  limit: { kind: 'integer', value: 'N', min: 1, max: 1_000_000, summary: 'At most so many (default 100)' },
  all: { kind: 'flag', summary: 'All there are' },
} as const;

export function limitOf(options: {
  readonly limit: number | undefined;
  readonly all: boolean;
}): number | 'all' {
  return options.all ? 'all' : (options.limit ?? defaultLimit);
}

/** Said on standard error when a list was cut. */
export const moreNote = 'There are more: --all lists all, --limit N more.';
