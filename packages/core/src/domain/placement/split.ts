/** Divides a whole into parts: evenly where that fits, otherwise as level as the room of each part allows. Pure. */

/** Shares that differ by one at most, spread so that neighbours together are even too (10 in 4: 2, 3, 2, 3). */
export function evenly(whole: number, parts: number): number[] {
  return Array.from(
    { length: parts },
    (_, at) => Math.floor(((at + 1) * whole) / parts) - Math.floor((at * whole) / parts),
  );
}

/** A share for each part: at least `taken`, at most `room`. The room as a whole is enough for `whole`. */
export function shareOut(
  whole: number,
  parts: readonly { readonly room: number; readonly taken: number }[],
  /** Sizes that even shares are multiples of, where they go into the whole; the largest first. */
  grains: readonly number[] = [1],
): number[] {
  const open = parts.filter(({ room }) => room > 0).length;
  for (const grain of grains.filter((size) => whole % size === 0)) {
    const shares = evenly(whole / grain, open).map((share) => share * grain);
    const spread = parts.map(({ room }) => (room > 0 ? (shares.shift() ?? 0) : 0));
    const fits = parts.every(({ room, taken }, at) => {
      const share = spread[at] ?? 0;
      return taken <= share && share <= room;
    });
    if (fits) return spread;
  }
  return levelled(whole, parts);
}

/** Fills the parts like connected vessels: the fullest first holds back, the emptiest first takes. */
function levelled(
  whole: number,
  parts: readonly { readonly room: number; readonly taken: number }[],
): number[] {
  const filled = (level: number): number[] =>
    parts.map(({ room, taken }) => Math.max(taken, Math.min(room, level)));
  const sum = (shares: readonly number[]): number => shares.reduce((total, share) => total + share, 0);
  let low = 0;
  let high = Math.max(0, ...parts.map(({ room }) => room));
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (sum(filled(middle)) <= whole) low = middle;
    else high = middle - 1;
  }
  const shares = filled(low);
  let left = whole - sum(shares);
  return shares.map((share, at) => {
    const { room = 0 } = parts[at] ?? {};
    if (left <= 0 || share !== low || share >= room) return share;
    left -= 1;
    return share + 1;
  });
}
