/** Keys with a common prefix as a range of SQLite's order, which is the order of Unicode code points (UTF-8 bytes). */

const LAST_CODE_POINT = 0x10ffff;
const SURROGATES = { first: 0xd800, behind: 0xe000 };

/** The least key above every key that begins with `prefix`; undefined when there is none. */
export function endOfPrefix(prefix: string): string | undefined {
  const points = Array.from(prefix, (character) => character.codePointAt(0) ?? 0);
  while (points.length > 0) {
    const last = points.pop() ?? 0;
    if (last < LAST_CODE_POINT) {
      const next = last + 1 === SURROGATES.first ? SURROGATES.behind : last + 1;
      return String.fromCodePoint(...points, next);
    }
  }
  return undefined;
}
