// What a measured value may be: ten per cent off, both ways.
import { expect } from 'vitest';

export const tenth = (value: number): readonly [number, number] => [value * 0.9, value * 1.1];

export function expectWithin(value: number, [least, most]: readonly [number, number]): void {
  expect(value).toBeGreaterThan(least);
  expect(value).toBeLessThan(most);
}

/**
 * What else the machine does takes from a guest, and may do so in one look; it has what it is given in one of three, and more in none.
 */
export async function expectReached(wanted: number, look: () => Promise<number>): Promise<void> {
  for (let count = 1; ; count += 1) {
    const seen = await look();
    expect(seen).toBeLessThan(wanted * 1.1);
    if (count === 3 || seen > wanted * 0.9) return expectWithin(seen, tenth(wanted));
  }
}
