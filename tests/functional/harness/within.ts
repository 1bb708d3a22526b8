// What a measured value may be: ten per cent off, both ways. Throws what a failed test says.

export const tenth = (value: number): readonly [number, number] => [value * 0.9, value * 1.1];

export function expectWithin(value: number, [least, most]: readonly [number, number]): void {
  if (!(value > least && value < most)) throw new Error(`${value} is not between ${least} and ${most}`);
}

/**
 * What else the machine does takes from a guest, and may do so in one look; it has what it is given in one of three, and more in none.
 */
export async function expectReached(wanted: number, look: () => Promise<number>): Promise<void> {
  const [least, most] = tenth(wanted);
  for (let count = 1; ; count += 1) {
    const seen = await look();
    if (count === 3 || seen > least) return expectWithin(seen, [least, most]);
  }
}
