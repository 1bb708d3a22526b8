// Splits TypeScript source into tokens, well enough to find every import and to tell code from comments, strings,
// templates and regular expressions. It throws on what it cannot read (an unterminated literal, unbalanced brackets):
// a rule must never pass because a file was misread. It knows no grammar beyond that, and no JSX.

export interface Token {
  kind: 'word' | 'string' | 'template' | 'number' | 'regex' | 'punct';
  /** The text as written; for strings and templates without `${}` see `value`. */
  text: string;
  /** The value of a string literal, or of a template without substitutions; undefined otherwise. */
  value?: string;
  line: number;
}

export interface Comment {
  text: string;
  line: number;
}

export interface Tokenized {
  tokens: Token[];
  comments: Comment[];
}

export class UnreadableSource extends Error {
  readonly line: number;
  constructor(message: string, line: number) {
    super(`line ${line}: ${message}`);
    this.line = line;
  }
}

/** Words after which a slash starts a regular expression and not a division. */
const operatorWords = new Set(
  'return typeof case in of delete void throw new do else instanceof await yield extends default satisfies as'.split(
    ' ',
  ),
);
const wordStart = /[\p{ID_Start}$_#@]/u;
const wordRest = /[\p{ID_Continue}$\u200c\u200d]/u;
const closers: Record<string, string> = { '(': ')', '[': ']', '{': '}' };

interface Cursor {
  source: string;
  at: number;
  line: number;
  tokens: Token[];
  comments: Comment[];
  /** Open brackets; `${` marks a template's substitution, at whose end the template goes on. */
  open: { text: string; line: number; template?: Token }[];
}

/** Tokens and comments of a source file. Throws UnreadableSource with the line. */
export function tokenize(source: string): Tokenized {
  const cursor: Cursor = { source, at: 0, line: 1, tokens: [], comments: [], open: [] };
  if (source.startsWith('#!')) skipTo(cursor, endOfLine(source, 0));
  while (cursor.at < source.length) step(cursor);
  const left = cursor.open.at(-1);
  if (left) throw new UnreadableSource(`"${left.text}" is never closed`, left.line);
  return { tokens: cursor.tokens, comments: cursor.comments };
}

function step(cursor: Cursor): void {
  const { source, at } = cursor;
  const char = String.fromCodePoint(source.codePointAt(at) ?? 0);
  if (/\s|\ufeff/.test(char)) return skipTo(cursor, at + 1);
  if (source.startsWith('//', at)) return readComment(cursor, endOfLine(source, at));
  if (source.startsWith('/*', at)) return readComment(cursor, closing(cursor, '*/', at + 2));
  if (char === "'" || char === '"') return readString(cursor, char);
  if (char === '`') return readTemplate(cursor, { kind: 'template', text: '', line: cursor.line });
  if (/[0-9]/.test(char)) return readMatch(cursor, 'number', /[0-9][\w.]*/y);
  if (wordStart.test(char)) return readWord(cursor);
  if (char === '/' && regexMayStart(cursor.tokens)) return readRegex(cursor);
  readPunct(cursor, char);
}

function skipTo(cursor: Cursor, end: number): void {
  for (let at = cursor.at; at < end; at += 1) if (cursor.source[at] === '\n') cursor.line += 1;
  cursor.at = end;
}

function push(cursor: Cursor, kind: Token['kind'], end: number, value?: string): void {
  const token: Token = { kind, text: cursor.source.slice(cursor.at, end), line: cursor.line };
  if (value !== undefined) token.value = value;
  cursor.tokens.push(token);
  skipTo(cursor, end);
}

function endOfLine(source: string, from: number): number {
  const end = source.indexOf('\n', from);
  return end === -1 ? source.length : end;
}

function closing(cursor: Cursor, mark: string, from: number): number {
  const end = cursor.source.indexOf(mark, from);
  if (end === -1) throw new UnreadableSource(`no closing ${mark}`, cursor.line);
  return end + mark.length;
}

function readComment(cursor: Cursor, end: number): void {
  cursor.comments.push({ text: cursor.source.slice(cursor.at, end), line: cursor.line });
  skipTo(cursor, end);
}

function readString(cursor: Cursor, quote: string): void {
  let at = cursor.at + 1;
  for (; cursor.source[at] !== quote; at += 1) {
    const char = cursor.source[at];
    if (char === undefined || char === '\n')
      throw new UnreadableSource('a string is not closed', cursor.line);
    if (char === '\\') at += 1;
  }
  const raw = cursor.source.slice(cursor.at + 1, at);
  push(cursor, 'string', at + 1, unescape(raw));
}

/** Enough for module specifiers: an escaped character stands for itself, \xNN and \uNNNN for their code. */
function unescape(raw: string): string {
  return raw.replace(
    /\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|u\{([0-9a-f]+)\}|([\s\S]))/gi,
    (_all, x, u, braced, one) => {
      const hex: string | undefined = x ?? u ?? braced;
      return hex === undefined ? String(one) : String.fromCodePoint(Number.parseInt(hex, 16));
    },
  );
}

/** Reads from a backquote, or from the `}` that ends a substitution, to the next `${` or the closing backquote. */
function readTemplate(cursor: Cursor, token: Token): void {
  let at = cursor.at + 1;
  for (;;) {
    const char = cursor.source[at];
    if (char === undefined) throw new UnreadableSource('a template is not closed', token.line);
    if (char === '`') break;
    if (char === '$' && cursor.source[at + 1] === '{') break;
    at += char === '\\' ? 2 : 1;
  }
  const first = token.text === '';
  token.text += cursor.source.slice(cursor.at, at + 1);
  if (first) cursor.tokens.push(token);
  if (cursor.source[at] === '`') {
    if (first) token.value = unescape(token.text.slice(1, -1));
    return skipTo(cursor, at + 1);
  }
  skipTo(cursor, at + 2);
  cursor.open.push({ text: '${', line: cursor.line, template: token });
}

function readMatch(cursor: Cursor, kind: Token['kind'], pattern: RegExp): void {
  pattern.lastIndex = cursor.at;
  const match = pattern.exec(cursor.source);
  push(cursor, kind, cursor.at + (match?.[0].length ?? 1));
}

function readWord(cursor: Cursor): void {
  let at = cursor.at;
  for (;;) {
    const code = cursor.source.codePointAt(at);
    if (code === undefined) break;
    const char = String.fromCodePoint(code);
    if (!(at === cursor.at ? wordStart : wordRest).test(char)) break;
    at += char.length;
  }
  push(cursor, 'word', at);
}

function regexMayStart(tokens: Token[]): boolean {
  const last = tokens.at(-1);
  if (!last) return true;
  if (last.kind === 'word') return operatorWords.has(last.text) && tokens.at(-2)?.text !== '.';
  if (last.kind === 'punct') return ![')', ']', '}', '++', '--'].includes(last.text);
  return false;
}

function readRegex(cursor: Cursor): void {
  let inClass = false;
  let at = cursor.at + 1;
  for (; inClass || cursor.source[at] !== '/'; at += 1) {
    const char = cursor.source[at];
    if (char === undefined || char === '\n')
      throw new UnreadableSource('a regular expression is not closed', cursor.line);
    if (char === '\\') at += 1;
    else if (char === '[') inClass = true;
    else if (char === ']') inClass = false;
  }
  at += 1;
  while (/[a-z]/.test(cursor.source[at] ?? '')) at += 1;
  push(cursor, 'regex', at);
}

function readPunct(cursor: Cursor, char: string): void {
  if (closers[char]) cursor.open.push({ text: char, line: cursor.line });
  if (char === ')' || char === ']' || char === '}') {
    const opened = cursor.open.pop();
    if (opened?.template && char === '}') return readTemplate(cursor, opened.template);
    if (!opened || closers[opened.text] !== char)
      throw new UnreadableSource(`unexpected "${char}"`, cursor.line);
  }
  const two = cursor.source.slice(cursor.at, cursor.at + 2);
  push(cursor, 'punct', cursor.at + (two === '=>' || two === '++' || two === '--' ? 2 : char.length));
}
