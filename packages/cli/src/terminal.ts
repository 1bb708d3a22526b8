/** The person's terminal in raw mode, and given back as it was on every way out. Also the watch for the detach key. */
import type { Io } from './io.ts';

/**
 * What a guest may have switched on and a shell does not expect: colours, hidden cursor, mouse reports, bracketed
 * paste, keypad modes (xterm control sequences).
 */
const calm = '\x1b[0m\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?1l\x1b>';

/** Raw mode until disposed of, or until the process ends. Does nothing where standard input is no terminal. */
export function rawTerminal(io: Io): Disposable {
  const { stdin, stdout } = io;
  if (stdin.isTTY !== true || stdin.setRawMode === undefined) return { [Symbol.dispose]: () => undefined };
  let raw = true;
  const restore = (): void => {
    if (!raw) return;
    raw = false;
    stdin.setRawMode?.(false);
    if (stdout.isTTY === true) stdout.write(calm);
  };
  const removeExit = io.onExit(restore);
  stdin.setRawMode(true);
  return {
    [Symbol.dispose]: () => {
      restore();
      removeExit();
    },
  };
}

/** What of a chunk is for the guest, and whether the detach key ended it. */
export function splitAtKey(
  chunk: Uint8Array,
  key: number,
): { readonly input: Uint8Array; readonly detached: boolean } {
  const at = chunk.indexOf(key);
  return at < 0 ? { input: chunk, detached: false } : { input: chunk.subarray(0, at), detached: true };
}

/** `Ctrl-]` for 0x1d. */
export function keyName(key: number): string {
  return `Ctrl-${String.fromCharCode(key | 0x40)}`;
}

/**
 * What the guest wrote before, without its questions to the terminal (ECMA-48 DSR and DA; xterm's window reports,
 * DECRQM, DECRQSS, colour queries): the answers would be typed into a guest that no longer waits for them.
 */
export function withoutQueries(replay: Uint8Array): Uint8Array {
  const text = Buffer.from(replay).toString('latin1');
  return Buffer.from(text.replace(queries, ''), 'latin1');
}

const queries = new RegExp(
  [
    '\\x1b\\[[?>=]?[0-9;]*(?:[cnt]|\\$p)',
    '\\x1bZ',
    '\\x1bP[$+]q[^\\x1b]*\\x1b\\\\',
    '\\x1b\\][0-9;]*\\?(?:\\x07|\\x1b\\\\)',
  ].join('|'),
  'g',
);
