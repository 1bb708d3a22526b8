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
