import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createRing } from './ring.ts';

it('a ring holds the last bytes of what was pushed, in order', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 20 }),
      fc.uint8Array({ maxLength: 50 }),
      fc.array(fc.uint8Array({ maxLength: 50 })),
      (capacity, initial, pieces) => {
        const ring = createRing(capacity, initial);
        for (const piece of pieces) ring.push(piece);
        const all = Buffer.concat([initial, ...pieces]);
        expect(Buffer.from(ring.bytes())).toEqual(all.subarray(Math.max(0, all.length - capacity)));
      },
    ),
  );
});

it('a ring grows up to its capacity and not beyond', () => {
  const ring = createRing(10_000);
  const all = Buffer.from(Array.from({ length: 33_000 }, (_each, index) => index % 251));
  for (let at = 0; at < all.length; at += 700) {
    ring.push(all.subarray(at, at + 700));
    const seen = all.subarray(0, at + 700);
    expect(Buffer.compare(ring.bytes(), seen.subarray(Math.max(0, seen.length - 10_000)))).toBe(0);
  }
});
