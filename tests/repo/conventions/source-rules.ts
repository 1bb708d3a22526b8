// The rules that one source file can break by itself. Each returns what is wrong as `line: sentence`; none means kept.
// Comments and strings are told from code by the tokenizer, so that a rule can be written about without breaking it.
import { type Token, type Tokenized, tokenize } from '../layers/tokens.ts';

export interface Source {
  path: string;
  text: string;
}

export interface SourceRule {
  name: string;
  check(source: Source, read: Tokenized): string[];
}

const maxLines = 600;
const maxHeaderLines = 8;

/** Everything in the file that breaks a rule, as `path:line rule: sentence`. */
export function brokenRules(source: Source): string[] {
  if (!source.path.endsWith('.ts')) return [];
  const read = tokenize(source.text);
  return sourceRules.flatMap((rule) =>
    rule.check(source, read).map((each) => `${source.path}:${each} (${rule.name})`),
  );
}

export function isTestPath(path: string): boolean {
  return (
    (path.startsWith('tests/') && !path.startsWith('tests/bench/')) || /\.(test|contract)\.ts$/.test(path)
  );
}

/** Lines where the words stand one after the other as tokens. */
function findTokens(tokens: readonly Token[], words: readonly (string | RegExp)[]): Token[] {
  const fits = (token: Token | undefined, word: string | RegExp): boolean =>
    token !== undefined && (typeof word === 'string' ? token.text === word : word.test(token.text));
  return tokens.filter((_token, at) => words.every((word, offset) => fits(tokens[at + offset], word)));
}

/** Whether a comment stands on the line or ends on the line above it. */
function hasComment(read: Tokenized, line: number): boolean {
  return read.comments.some(({ text, line: start }) => {
    const end = start + text.split('\n').length - 1;
    return end === line || end === line - 1;
  });
}

const generated = (path: string): boolean => path.endsWith('.gen.ts');

export const sourceRules: SourceRule[] = [
  {
    name: 'file-size',
    check({ path, text }) {
      const lines = text.split('\n').length - 1;
      if (lines <= maxLines || generated(path)) return [];
      return [`1 has ${lines} lines, more than ${maxLines}: split it by what it does`];
    },
  },
  {
    name: 'file-header',
    check({ path, text }, read) {
      if (path.endsWith('.test.ts')) return []; // its test names say it
      const body = text.startsWith('#!') ? text.slice(text.indexOf('\n') + 1) : text;
      if (!/^(\/\/|\/\*)/.test(body))
        return ['1 starts without a header comment that says what the module guarantees'];
      const lines = body.split('\n').findIndex((line) => !line.startsWith('//'));
      const length = body.startsWith('//') ? lines : (read.comments[0]?.text.split('\n').length ?? 0);
      if (length > maxHeaderLines)
        return [`1 has a header comment of ${length} lines: one to five are meant`];
      return [];
    },
  },
  {
    name: 'no-enum',
    check: (_source, read) =>
      findTokens(read.tokens, ['enum', /^[A-Za-z_$]/, '{']).map(
        (token) => `${token.line} declares an enum: use a union`,
      ),
  },
  {
    name: 'no-default-export',
    check({ path }, read) {
      if (/\.config\.ts$|-reporter\.ts$/.test(path)) return [];
      const found = findTokens(read.tokens, ['export', 'default']);
      return found.map((token) => `${token.line} has a default export: name it`);
    },
  },
  {
    name: 'no-only',
    check: (_source, read) =>
      findTokens(read.tokens, [/^(it|test|describe|each)$/, '.', 'only']).map(
        (token) => `${token.line} leaves an .only, which keeps the other tests from running`,
      ),
  },
  { name: 'skip-with-reason', check: checkSkips },
  { name: 'no-sleep', check: checkSleeps },
];

/** `skipIf(x)('a title (needs root)', …)`, or one with its `${reason}`: the run prints it with the skipped test. */
function titleTellsWhy(tokens: readonly Token[], mark: Token): boolean {
  const at = tokens.indexOf(mark);
  const title = tokens.findIndex(
    (each, index) => index > at && each.text === '(' && tokens[index - 1]?.text === ')',
  );
  const token = tokens[title + 1];
  if (title === -1 || token === undefined || token.line > mark.line + 1) return false;
  return token.kind === 'template' ? token.value === undefined : /\((needs|skipped) /.test(token.value ?? '');
}

/** A skipped test carries its reason in its name or in a comment beside it; from inside, skip(…) is told the reason. */
function checkSkips({ path }: Source, read: Tokenized): string[] {
  if (!isTestPath(path)) return [];
  const marks = findTokens(read.tokens, [/^(it|test|describe)$/, '.', /^(skip|skipIf|runIf|todo)$/]);
  const bare = marks.filter((token) => !hasComment(read, token.line) && !titleTellsWhy(read.tokens, token));
  const inside = findTokens(read.tokens, [/^(?!it$|test$|describe$)[a-z]/i, '.', 'skip', '(', ')']);
  return [...bare, ...inside].map(
    (token) => `${token.line} skips a test without saying why in a comment beside it`,
  );
}

/** Waiting by the clock makes tests slow and unsure. A poll that has no event to wait for says so in a comment. */
function checkSleeps({ path }: Source, read: Tokenized): string[] {
  if (!isTestPath(path)) return [];
  const { tokens } = read;
  const resolvers = [
    ...findTokens(tokens, ['setTimeout', '(', /^[\w$]+$/, ',']),
    ...findTokens(tokens, ['setTimeout', '(', '(', ')', '=>', /^(resolve|done|ok|fulfil|next)$/]),
    ...findTokens(tokens, ['setTimeout', '(', /^[0-9]/]),
    ...tokens.filter((token) => /^(node:)?timers\/promises$/.test(token.value ?? '')),
  ];
  return resolvers
    .filter((token) => !hasComment(read, token.line))
    .map(
      (token) =>
        `${token.line} sleeps: wait for an event with a deadline (or say in a comment why it must poll)`,
    );
}
