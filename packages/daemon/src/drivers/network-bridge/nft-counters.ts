// Reads the counters that `nft -j` lists: named ones, and those of a set's elements. Pure; what is not understood is left out.

export interface NamedCounter {
  readonly name: string;
  readonly packets: number;
  readonly bytes: number;
}

interface JsonListing {
  readonly nftables?: readonly {
    readonly counter?: NamedCounter;
    readonly set?: { readonly elem?: readonly unknown[] };
  }[];
}

export function parseCounters(text: string): NamedCounter[] {
  const { nftables = [] } = JSON.parse(text) as JsonListing;
  return nftables.flatMap(({ counter }) => {
    if (counter === undefined) return [];
    return [{ name: counter.name, packets: counter.packets, bytes: counter.bytes }];
  });
}

/** Packets by element, of a set whose elements are plain words. */
export function parseElementCounters(text: string): Map<string, number> {
  const { nftables = [] } = JSON.parse(text) as JsonListing;
  const counted = nftables.flatMap(({ set }) => set?.elem ?? []) as {
    readonly elem?: { readonly val?: unknown; readonly counter?: { readonly packets: number } };
  }[];
  return new Map(
    counted.flatMap(({ elem }) =>
      typeof elem?.val === 'string' ? [[elem.val, elem.counter?.packets ?? 0] as const] : [],
    ),
  );
}
