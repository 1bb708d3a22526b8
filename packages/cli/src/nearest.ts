/** Finds the known word that a mistyped one was probably meant to be. */

/** The nearest of `known`: at most two typing slips away (one in short words), or the only one it begins. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const begun = word.length >= 2 ? known.filter((each) => each.startsWith(word)) : [];
  if (begun.length === 1) return begun[0];
  const limit = word.length <= 3 ? 1 : 2;
  let best: string | undefined;
  let bestSlips = limit + 1;
  for (const each of known) {
    const slips = slipsBetween(word, each);
    if (slips < bestSlips) [best, bestSlips] = [each, slips];
  }
  return best;
}

/** Insertions, deletions, replacements and swaps of neighbours (optimal string alignment). */
export function slipsBetween(from: string, to: string): number {
  let before: number[] = [];
  let above = Array.from({ length: to.length + 1 }, (_, at) => at);
  for (let i = 1; i <= from.length; i++) {
    const row = [i];
    for (let j = 1; j <= to.length; j++) {
      const same = from[i - 1] === to[j - 1] ? 0 : 1;
      // Inside the rows by construction; the fallbacks are for the compiler.
      let cost = Math.min((above[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (above[j - 1] ?? 0) + same);
      if (i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1])
        cost = Math.min(cost, (before[j - 2] ?? 0) + 1);
      row.push(cost);
    }
    before = above;
    above = row;
  }
  return above[to.length] ?? 0;
}
