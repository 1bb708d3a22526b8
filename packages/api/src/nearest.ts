/** Offers the known word that a mistyped one was meant to be. Pure; compares by edits, leaves out meaning. */

/** Edits from `a` to `b`: insert, delete, replace, or swap of two neighbours, one each (optimal string alignment). */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= b.length; column += 1) {
      const same = a[row - 1] === b[column - 1];
      let best = Math.min(
        (last[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (same ? 0 : 1),
      );
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      if (swapped) best = Math.min(best, (beforeLast[column - 2] ?? 0) + 1);
      current.push(best);
    }
    beforeLast = last;
    last = current;
  }
  return last[b.length] ?? 0;
}

const maxWordChars = 64;

/**
 * The known word nearest to `word`, or undefined when none is near: a third of the word may differ, and two letters
 * in short ones. Upper and lower case count as equal, and a known word that `word` begins (or ends) is near.
 */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  if (word.length > maxWordChars) return undefined;
  const wanted = word.toLowerCase();
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(word.length / 3)) + 0.5;
  for (const candidate of known) {
    if (candidate.length > maxWordChars) continue;
    const name = candidate.toLowerCase();
    const part = wanted.length >= 3 && (name.startsWith(wanted) || name.endsWith(wanted));
    const distance = part ? 1.5 : editDistance(wanted, name);
    if (distance < bestDistance && distance < Math.max(word.length, candidate.length)) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}
