/** Ids in ascending order, with cheap insertion at the end, where new ULIDs mostly go. */
export class SortedIds {
  readonly #ids: string[] = [];

  /** Position of the first id that is greater than `id`. */
  #after(id: string): number {
    let low = 0;
    let high = this.#ids.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      // The index is within the array: low <= middle < high <= length.
      if ((this.#ids[middle] as string) <= id) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  add(id: string): void {
    const at = this.#after(id);
    if (this.#ids[at - 1] !== id) this.#ids.splice(at, 0, id);
  }

  delete(id: string): void {
    const at = this.#after(id) - 1;
    if (this.#ids[at] === id) this.#ids.splice(at, 1);
  }

  /** Ids greater than `cursor`, ascending; all of them without one. The set must not change while it is read. */
  *after(cursor: string | undefined): Iterable<string> {
    for (let at = cursor === undefined ? 0 : this.#after(cursor); at < this.#ids.length; at += 1) {
      yield this.#ids[at] as string;
    }
  }
}
