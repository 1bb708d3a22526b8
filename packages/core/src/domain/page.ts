/** Cuts a page out of records in the order of their ids. */

export interface PageOf<T> {
  readonly items: T[];
  /** Cursor of the following page: the id of this one's last item. */
  readonly next?: string;
}

/** The first `limit` of `records` that match. `next` is there only if another match follows. */
export function pageOf<T extends { readonly id: string }>(
  records: Iterable<T>,
  limit: number,
  matches: (record: T) => boolean,
): PageOf<T> {
  const items: T[] = [];
  for (const record of records) {
    if (!matches(record)) continue;
    const last = items.at(-1);
    if (items.length === limit && last !== undefined) return { items, next: last.id };
    items.push(record);
  }
  return { items };
}
