import fc from 'fast-check';
import { expect, it } from 'vitest';
import { evenly, shareOut } from './split.ts';

it('even shares are even for neighbours too', () => {
  expect(evenly(10, 4)).toEqual([2, 3, 2, 3]);
  expect(evenly(1, 3)).toEqual([0, 0, 1]);
});

it('a whole is shared in large grains where they fit, in small ones where not', () => {
  const rooms = (...counts: number[]): { room: number; taken: number }[] =>
    counts.map((room) => ({ room, taken: 0 }));
  expect(shareOut(384, rooms(256, 256), [128, 1])).toEqual([128, 256]);
  expect(shareOut(384, rooms(200, 200), [128, 1])).toEqual([192, 192]);
  expect(shareOut(384, rooms(100, 400), [128, 1])).toEqual([100, 284]);
  expect(
    shareOut(6, [
      { room: 8, taken: 5 },
      { room: 8, taken: 0 },
    ]),
  ).toEqual([5, 1]);
  expect(shareOut(4, rooms(0, 4, 4))).toEqual([0, 2, 2]);
});

it('shares sum up, keep within the room and differ only where it makes them', () => {
  const part = fc.record({ room: fc.nat(50), taken: fc.nat(10) }).filter(({ room, taken }) => taken <= room);
  fc.assert(
    fc.property(fc.array(part, { minLength: 1, maxLength: 9 }), fc.nat(100), (parts, percent) => {
      const taken = parts.reduce((sum, each) => sum + each.taken, 0);
      const room = parts.reduce((sum, each) => sum + each.room, 0);
      const whole = taken + Math.floor(((room - taken) * percent) / 100);
      const isGrained = whole % 4 === 0;
      const shares = shareOut(whole, parts, [4, 1]);
      expect(shares.reduce((sum, share) => sum + share, 0)).toBe(whole);
      for (const [at, share] of shares.entries()) {
        expect(share).toBeGreaterThanOrEqual(parts[at]!.taken);
        expect(share).toBeLessThanOrEqual(parts[at]!.room);
        const mayGive = share > parts[at]!.taken;
        const mayTake = shares.filter((other, to) => other < parts[to]!.room);
        if (mayGive && !isGrained) expect(Math.min(share - 1, ...mayTake)).toBe(share - 1);
      }
    }),
  );
});
