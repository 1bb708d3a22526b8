// The last bytes of a stream, up to a fixed number.

export interface Ring {
  push(data: Uint8Array): void;
  /** A copy, oldest byte first. */
  bytes(): Uint8Array;
}

const smallest = 4096;

/** Takes memory as it fills up: most consoles say little. */
export function createRing(capacity: number, initial: Uint8Array = new Uint8Array()): Ring {
  let store = new Uint8Array(Math.min(capacity, smallest));
  /** Where the next byte goes. */
  let end = 0;
  let held = 0;

  const bytes = (): Uint8Array => {
    const start = (end - held + store.length) % store.length;
    const first = store.subarray(start, Math.min(store.length, start + held));
    return Buffer.concat([first, store.subarray(0, held - first.length)]);
  };
  const grow = (needed: number): void => {
    let length = store.length;
    while (length < needed && length < capacity) length *= 2;
    if (length === store.length) return;
    const grown = new Uint8Array(Math.min(length, capacity));
    grown.set(bytes());
    store = grown;
    end = held % grown.length;
  };
  const push = (data: Uint8Array): void => {
    grow(held + data.length);
    const kept = data.subarray(Math.max(0, data.length - store.length));
    const first = kept.subarray(0, store.length - end);
    store.set(first, end);
    store.set(kept.subarray(first.length), 0);
    end = (end + kept.length) % store.length;
    held = Math.min(store.length, held + kept.length);
  };
  push(initial);
  return { push, bytes };
}
