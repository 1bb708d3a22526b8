/**
 * The syntax of Xen's xl.cfg (and of the Python that xm read, as far as it is only data): settings of strings, numbers and
 * lists. Strict: what is not understood is an error with its line. Source: xl.cfg(5), libxlu_cfg_y.y.
 */
import { WirtError } from '@wirt/api';
import { printable } from './notes.ts';

/** Numbers are kept as they are written. */
export type XlValue = string | readonly XlValue[];

export interface XlSetting {
  readonly value: XlValue;
  readonly line: number;
}

export const xlLimits = { length: 1_048_576, settings: 2_000, items: 10_000, depth: 8 } as const;

interface Cursor {
  readonly text: string;
  at: number;
  line: number;
  items: number;
}

/** Settings by name; of a name that is set twice the last counts, as in xl. */
export function parseXl(text: string): ReadonlyMap<string, XlSetting> {
  if (text.length > xlLimits.length)
    throw new WirtError('import.malformed', 'The xl.cfg is larger than 1 MiB.');
  const cursor: Cursor = { text: text.replace(/^\u{feff}/u, ''), at: 0, line: 1, items: 0 };
  const settings = new Map<string, XlSetting>();
  for (;;) {
    skipBlank(cursor, true);
    if (cursor.at >= cursor.text.length) return settings;
    const { line } = cursor;
    const name = match(cursor, /[A-Za-z_][\w.-]*/y) ?? fail(cursor, 'expected the name of a setting');
    skipBlank(cursor, false);
    const operator = match(cursor, /\+?=/y) ?? fail(cursor, `expected = after ${printable(name, 60)}`);
    skipBlank(cursor, false);
    const value = readValue(cursor, 0);
    skipBlank(cursor, false);
    if (cursor.at < cursor.text.length && match(cursor, /;|(?=\n)/y) === undefined) {
      fail(cursor, `what follows the value of ${printable(name, 60)} is not understood`);
    }
    const before = settings.get(name)?.value;
    settings.set(name, {
      value: operator === '=' || before === undefined ? value : append(cursor, before, value),
      line,
    });
    if (settings.size > xlLimits.settings) fail(cursor, `there are more than ${xlLimits.settings} settings`);
  }
}

function append(cursor: Cursor, before: XlValue, more: XlValue): XlValue {
  if (typeof before === 'string' && typeof more === 'string') return before + more;
  if (typeof before !== 'string' && typeof more !== 'string') return [...before, ...more];
  return fail(cursor, 'a list and a text cannot be added');
}

function fail(cursor: Cursor, sentence: string): never {
  throw new WirtError('import.malformed', `The xl.cfg, line ${cursor.line}: ${sentence}.`);
}

/** What the sticky pattern matches here, taken; undefined when it does not. */
function match(cursor: Cursor, pattern: RegExp): string | undefined {
  pattern.lastIndex = cursor.at;
  const found = pattern.exec(cursor.text)?.[0];
  if (found === undefined) return undefined;
  cursor.at += found.length;
  for (let at = found.indexOf('\n'); at !== -1; at = found.indexOf('\n', at + 1)) cursor.line += 1;
  return found;
}

/** Blanks, comments and joined lines; ends of lines and of settings too where they may be. */
function skipBlank(cursor: Cursor, lines: boolean): void {
  const blank = /(?:[ \t\r\f\v]|\\\r?\n|#[^\n]*)+/y;
  const blankLines = /(?:[\s;]|\\\r?\n|#[^\n]*)+/y;
  match(cursor, lines ? blankLines : blank);
}

function countItem(cursor: Cursor): void {
  cursor.items += 1;
  if (cursor.items > xlLimits.items) fail(cursor, `there are more than ${xlLimits.items} values`);
}

function readValue(cursor: Cursor, depth: number): XlValue {
  countItem(cursor);
  const next = cursor.text[cursor.at];
  if (next === '[' || next === '(') return readList(cursor, next === '[' ? ']' : ')', depth);
  if (next === '"' || next === "'") return readString(cursor);
  const word = match(cursor, /-?0[xX][0-9a-fA-F]+|-?\d+(?:\.\d+)?(?![\w.])|(?:True|False|None)(?!\w)/y);
  if (word === undefined) return fail(cursor, 'expected a text in quotes, a number or a list');
  const words: Readonly<Record<string, string>> = { True: '1', False: '0', None: '' };
  return words[word] ?? (/^-?0x/i.test(word) ? String(Number.parseInt(word, 16)) : word);
}

function readList(cursor: Cursor, end: string, depth: number): readonly XlValue[] {
  if (depth >= xlLimits.depth) fail(cursor, `lists are nested more than ${xlLimits.depth} deep`);
  cursor.at += 1;
  const values: XlValue[] = [];
  const blank = /(?:\s|#[^\n]*)+/y;
  for (;;) {
    match(cursor, blank);
    if (cursor.text[cursor.at] === end) break;
    values.push(readValue(cursor, depth + 1));
    match(cursor, blank);
    if (cursor.text[cursor.at] === ',') cursor.at += 1;
    else if (cursor.text[cursor.at] !== end) fail(cursor, `expected , or ${end} in a list`);
  }
  cursor.at += 1;
  return values;
}

const escapes: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\n': '',
};

/** One text, or several that stand next to each other, as Python joins them. */
function readString(cursor: Cursor): string {
  const rest = /[ \t]*(?=["'])/y;
  const pieces = [readPiece(cursor)];
  while (match(cursor, rest) !== undefined) {
    countItem(cursor);
    pieces.push(readPiece(cursor));
  }
  return pieces.join('');
}

function readPiece(cursor: Cursor): string {
  const raw =
    match(cursor, /"""(?:[^\\"]|\\[^]|"(?!""))*"""|'''(?:[^\\']|\\[^]|'(?!''))*'''/y)?.slice(3, -3) ??
    match(cursor, /"(?:[^\\"\n]|\\[^])*"|'(?:[^\\'\n]|\\[^])*'/y)?.slice(1, -1) ??
    fail(cursor, 'a text in quotes does not end');
  return raw.replaceAll(/\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|[^])/g, (_whole, code: string) => {
    if (/^x[0-9a-f]/i.test(code)) return String.fromCharCode(Number.parseInt(code.slice(1), 16));
    if (/^[0-7]/.test(code)) return String.fromCharCode(Number.parseInt(code, 8));
    return escapes[code] ?? code;
  });
}
