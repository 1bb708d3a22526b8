import { describe, expect, it } from 'vitest';
import { parseCounters, parseElementCounters } from './nft-counters.ts';
import {
  expectedListing,
  type Listing,
  listingDiffers,
  listingFits,
  parseListing,
  sampleOf,
} from './nft-listing.ts';
import type { NftSet, NftTable } from './nft-table.ts';

const text = `table inet w {
	counter r_1 {
	}

	set bridges {
		type ifname
		elements = { "wb2",
			     "wb1" }
	}

	map ingress4 {
		type ipv4_addr : verdict
		elements = { 10.0.0.1 : jump p }
	}

	set asking {
		type ifname
		size 65535
		flags dynamic,timeout
		timeout 1m
		elements = { "wt1" timeout 1m expires 30s limit rate over 20/second }
	}

	chain p {
		iifname @bridges accept
		drop
	}

	chain input {
		type filter hook input priority filter; policy accept;
		tcp dport { 1, 2 } drop
	}
}
`;
const set = (...keys: string[]): NftSet => ({
  kind: 'set',
  definition: '',
  elements: new Map(keys.map((key) => [key, ''])),
});
const table: NftTable = {
  family: 'inet',
  name: 'w',
  counters: new Set(['r_1']),
  sets: new Map<string, NftSet>([
    ['bridges', set('"wb1"', '"wb2"')],
    ['ingress4', { kind: 'map', definition: '', elements: new Map([['10.0.0.1', 'jump p']]) }],
    ['asking', { ...set(), dynamic: true }],
  ]),
  chains: new Map([
    ['p', { rules: ['iifname @bridges accept', 'drop'] }],
    ['input', { hook: 'type filter hook input priority 0;', rules: ['x'] }],
  ]),
};

describe('a listing', () => {
  it('fits the table that it is of', () => {
    expect(listingFits(table, parseListing(text))).toBeUndefined();
  });

  it.each([
    ['a rule less', '\t\tdrop\n\t}', '\t}', 'the rules of chain p were changed'],
    ['an element less', '"wb2",\n\t\t\t     ', '', 'the elements of set bridges were changed'],
    ['another chain', 'chain input', 'chain output', 'chain input is gone'],
    ['one chain more', 'chain input', 'chain q {\n\t}\n\tchain input', 'chain q was added'],
  ])('tells of %s', (_what, from, to, sentence) => {
    const changed = parseListing(text.replace(from, to));
    expect(listingFits(table, changed)).toBe(sentence);
    expect(listingDiffers(parseListing(text), changed)).toBe(sentence);
  });

  it('tells of a rule that reads differently, and of an element that leads elsewhere', () => {
    const before = parseListing(text);
    expect(listingDiffers(before, parseListing(text.replace('{ 1, 2 }', '{ 1, 3 }')))).toMatch(/chain input/);
    expect(listingDiffers(before, parseListing(text.replace('jump p', 'jump q')))).toMatch(/map ingress4/);
  });

  it('does not mind the order of elements, and what the kernel adds by itself', () => {
    const other = text
      .replace('"wb2",\n\t\t\t     "wb1"', '"wb1",\n\t\t\t     "wb2"')
      .replace('"wt1" timeout', '"wt2" timeout');
    expect(other).not.toBe(text);
    expect(listingDiffers(parseListing(text), parseListing(other))).toBeUndefined();
  });
});

describe('the listing that is expected', () => {
  const many = Array.from({ length: 100 }, (_, n) => `"wb${100 + n}"`);
  const big: NftTable = {
    ...table,
    sets: new Map([['bridges', set(...many)]]),
    chains: new Map(),
    counters: new Set(),
  };
  const sample = (word = (key: string): string => key): Listing => {
    const elements = Array.from(sampleOf(big).sets.get('bridges')?.elements.keys() ?? [], word);
    return parseListing(
      `table inet w {\n\tset bridges {\n\t\ttype ifname\n\t\telements = { ${elements.join(', ')} }\n\t}\n}\n`,
    );
  };
  const found = (keys: readonly string[]): Listing =>
    new Map([['set bridges', { lines: ['type ifname'], elements: keys.toSorted() }]]);

  it('has all elements, worded as those of the sample', () => {
    const expected = expectedListing(big, sample());
    expect(listingDiffers(expected, found(many))).toBeUndefined();
    expect(listingDiffers(expected, found([...many.slice(1), '"eth0"']))).toMatch(/elements of set bridges/);
  });

  it('has their number where nft words them in another way', () => {
    const expected = expectedListing(
      big,
      sample((key) => `0x${key}`),
    );
    expect(listingDiffers(expected, found([...many.slice(1), '"eth0"']))).toBeUndefined();
    expect(listingDiffers(expected, found(many.slice(1)))).toMatch(/elements of set bridges/);
  });
});

describe('counters', () => {
  it('are read by name and by element', () => {
    const named = {
      nftables: [{ metainfo: {} }, { counter: { name: 'r_1', packets: 3, bytes: 180, handle: 2 } }],
    };
    expect(parseCounters(JSON.stringify(named))).toEqual([{ name: 'r_1', packets: 3, bytes: 180 }]);
    const elem = [{ elem: { val: 'wt1', counter: { packets: 5, bytes: 9 } } }, { elem: { val: 'wt2' } }];
    expect(parseElementCounters(JSON.stringify({ nftables: [{ set: { elem } }] }))).toEqual(
      new Map([
        ['wt1', 5],
        ['wt2', 0],
      ]),
    );
    expect(parseElementCounters(JSON.stringify({ nftables: [{ set: {} }] }))).toEqual(new Map());
  });
});
