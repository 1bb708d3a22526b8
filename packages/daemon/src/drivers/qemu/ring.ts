// The last bytes of a stream, up to a fixed number.

export interface Ring {
  push(data: Uint8Array): void;
  /** A copy, oldest byte first. */
  bytes(): Uint8Array;
}

export function createRing(capacity: number, initial: Uint8Array = new Uint8Array()): Ring {
  const store = new Uint8Array(capacity);
  /** Where the next byte goes. */
  let end = 0;
  let held = 0;

  const push = (data: Uint8Array): void => {
    const kept = data.subarray(Math.max(0, data.length - capacity));
    const first = kept.subarray(0, capacity - end);
    store.set(first, end);
    store.set(kept.subarray(first.length), 0);
    end = (end + kept.length) % capacity;
    held = Math.min(capacity, held + kept.length);
  };
  push(initial);
  return {
    push,
    bytes() {
      const start = (end - held + capacity) % capacity;
      const first = store.subarray(start, Math.min(capacity, start + held));
      return Buffer.concat([first, store.subarray(0, held - first.length)]);
    },
  };
}
