/** How long copying may take: slower than this is no storage that guests could use. */

const SETTING_UP_MS = 10 * 60_000;
const SLOWEST_BYTES_PER_MS = 2 * 1024;
/** What a timer can hold. */
const LONGEST_MS = 2 ** 31 - 1;

export function deadlineMs(bytes: number): number {
  return Math.min(LONGEST_MS, SETTING_UP_MS + Math.ceil(bytes / SLOWEST_BYTES_PER_MS));
}
