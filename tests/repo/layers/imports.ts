// Finds every module that a source file mentions: static, type-only, re-exporting and dynamic imports, `import('x').T`
// types, require, import.meta.resolve and `new URL('x', import.meta.url)`; and the names that a file exports.
// A dynamic import whose specifier is not a literal is an error: nobody could check it.
import { type Token, type Tokenized, tokenize, UnreadableSource } from './tokens.ts';

export interface Import {
  specifier: string;
  kind: 'static' | 'type' | 'dynamic' | 'reexport' | 'url';
  /** Exported names that are taken from the module; '*' for all of them, which includes dynamic imports. */
  names: string[] | '*';
  line: number;
}

export interface Module {
  imports: Import[];
  /** Name as exported -> the re-exported module's own name, or undefined when it is declared here. */
  exports: Map<string, { from: string; name: string } | undefined>;
  /** Specifiers of `export * from`. */
  starExports: string[];
  tokenized: Tokenized;
}

/** The same text is read once: a tree is walked many times, each with another file planted. */
const known = new Map<string, Module>();

/** Imports and exports of a source text. Throws UnreadableSource. */
export function readModule(source: string): Module {
  const module = known.get(source) ?? parsed(source);
  known.set(source, module);
  return module;
}

function parsed(source: string): Module {
  const tokenized = tokenize(source);
  const module: Module = { imports: [], exports: new Map(), starExports: [], tokenized };
  for (const comment of tokenized.comments) {
    if (/^\/\/\/\s*<reference/.test(comment.text)) {
      throw new UnreadableSource('a triple-slash reference hides a dependency: import it', comment.line);
    }
  }
  const { tokens } = tokenized;
  for (let at = 0; at < tokens.length; at += 1) {
    const token = tokens[at];
    const before = tokens[at - 1]?.text;
    if (token?.kind !== 'word' || before === '.') continue;
    if (token.text === 'import') readImport(module, tokens, at);
    else if (token.text === 'export') readExport(module, tokens, at);
    else if (token.text === 'require' && tokens[at + 1]?.text === '(' && !isMethod(tokens, at + 1))
      readCall(module, tokens, at + 1, 'dynamic');
    else if (token.text === 'new' && tokens[at + 1]?.text === 'URL') readFileUrl(module, tokens, at + 2);
  }
  return module;
}

function readImport(module: Module, tokens: Token[], at: number): void {
  const next = tokens[at + 1];
  if (!next || [':', '?', ',', '}', '<'].includes(next.text)) return; // a member called import
  if (next.text === '.') {
    if (tokens[at + 3]?.text === 'resolve') readCall(module, tokens, at + 4, 'dynamic');
    return;
  }
  if (next.text === '(') {
    if (!isMethod(tokens, at + 1)) readCall(module, tokens, at + 1, 'dynamic');
    return;
  }
  if (next.kind === 'string') {
    module.imports.push({ specifier: next.value ?? '', kind: 'static', names: [], line: next.line });
    return;
  }
  const isType = next.text === 'type' && !['from', ',', '='].includes(tokens[at + 2]?.text ?? '');
  const clause = readClause(tokens, isType ? at + 2 : at + 1);
  if (!clause) throw new UnreadableSource('cannot read this import', next.line);
  module.imports.push({
    specifier: clause.specifier,
    kind: isType ? 'type' : 'static',
    names: clause.star ? '*' : clause.pairs.map(([name]) => name),
    line: next.line,
  });
}

/** `import(x)` or `require(x)` as the head of a method: what follows the first word, or the closing bracket, tells. */
function isMethod(tokens: Token[], open: number): boolean {
  const first = tokens[open + 1];
  if (first?.kind === 'string' || first?.kind === 'template') return false;
  if (first?.kind === 'word' && [':', '?'].includes(tokens[open + 2]?.text ?? '')) return true;
  let depth = 0;
  for (let at = open; at < tokens.length; at += 1) {
    const text = tokens[at]?.text ?? '';
    if ('([{'.includes(text)) depth += 1;
    if (')]}'.includes(text)) depth -= 1;
    if (depth === 0) return [':', '{'].includes(tokens[at + 1]?.text ?? '');
  }
  return false;
}

/** `import('x').then` is the promise's; any other member is a type taken from the module: `import('x').T`. */
const promiseMembers = new Set(['then', 'catch', 'finally']);

function readCall(module: Module, tokens: Token[], open: number, kind: Import['kind']): void {
  const argument = tokens[open + 1];
  const literal = argument?.value;
  const after = tokens[open + 2]?.text;
  if (tokens[open]?.text !== '(' || literal === undefined || (after !== ')' && after !== ',')) {
    const line = tokens[open]?.line ?? 0;
    throw new UnreadableSource('a module name that is not a literal cannot be checked', line);
  }
  const member =
    tokens[open + 2]?.text === ')' && tokens[open + 3]?.text === '.' ? tokens[open + 4]?.text : undefined;
  const names: Import['names'] = member && !promiseMembers.has(member) ? [member] : '*';
  module.imports.push({ specifier: literal, kind, names, line: argument?.line ?? 0 });
}

function readFileUrl(module: Module, tokens: Token[], open: number): void {
  const [argument, comma, base, dot, meta] = tokens.slice(open + 1, open + 6);
  const isModule = /\.[cm]?[jt]sx?$/.test(argument?.value ?? '');
  if (comma?.text !== ',' || base?.text !== 'import' || dot?.text !== '.' || meta?.text !== 'meta') return;
  if (!argument || !isModule) return;
  module.imports.push({ specifier: argument.value ?? '', kind: 'url', names: '*', line: argument.line });
}

interface Clause {
  specifier: string;
  star: boolean;
  /** [name in the module, name here] */
  pairs: [string, string][];
  starName?: string;
}

/** Reads `x, * as y, { a as b, type c } from 'specifier'`; undefined when no `from` follows. */
function readClause(tokens: Token[], start: number): Clause | undefined {
  const clause: Clause = { specifier: '', star: false, pairs: [] };
  for (let at = start; at < tokens.length; at += 1) {
    const token = tokens[at];
    if (!token) return undefined;
    if (token.text === 'from' && tokens[at + 1]?.kind === 'string') {
      clause.specifier = tokens[at + 1]?.value ?? '';
      return clause;
    }
    if (token.text === '{') {
      at = readNames(tokens, at + 1, clause.pairs);
    } else if (token.text === '*') {
      clause.star = true;
      if (tokens[at + 1]?.text === 'as') {
        clause.starName = tokens[at + 2]?.value ?? tokens[at + 2]?.text ?? '';
        at += 2;
      }
    } else if (token.text === '=' && tokens[at + 1]?.text === 'require') {
      clause.specifier = tokens[at + 3]?.value ?? '';
      clause.star = true;
      return clause.specifier ? clause : undefined;
    } else if (token.kind === 'word') {
      clause.pairs.push(['default', token.text]);
    } else if (token.text !== ',') {
      return undefined;
    }
  }
  return undefined;
}

/** Reads `a, b as c, type d }` into pairs and returns the index of the closing brace. */
function readNames(tokens: Token[], start: number, pairs: [string, string][]): number {
  let words: string[] = [];
  const flush = (): void => {
    if (words[0] === 'type' && words.length > 1 && !(words[1] === 'as' && words.length === 3)) words.shift();
    const [name, , alias] = words;
    if (name) pairs.push([name, alias ?? name]);
    words = [];
  };
  for (let at = start; at < tokens.length; at += 1) {
    const token = tokens[at];
    if (token?.text === ',' || token?.text === '}') flush();
    else words.push(token?.value ?? token?.text ?? '');
    if (token?.text === '}') return at;
  }
  return tokens.length;
}

const declarationWords = new Set(
  'declare async abstract const let var function class interface type enum namespace'.split(' '),
);

function readExport(module: Module, tokens: Token[], at: number): void {
  const next = tokens[at + 1];
  if (!next || [':', '?', ',', '}', '<'].includes(next.text)) return; // a member called import
  if (next.text === 'default') {
    module.exports.set('default', undefined);
    return;
  }
  const after = tokens[at + 2]?.text ?? '';
  const start = next.text === 'type' && ['{', '*'].includes(after) ? at + 2 : at + 1;
  const head = tokens[start]?.text;
  if (head !== '{' && head !== '*') return readDeclaration(module, tokens, start);
  const clause = head === '*' || closesWithFrom(tokens, start) ? readClause(tokens, start) : undefined;
  if (!clause) {
    const pairs: [string, string][] = [];
    readNames(tokens, start + 1, pairs);
    for (const [, exported] of pairs) module.exports.set(exported, undefined);
    return;
  }
  const names = clause.star ? '*' : clause.pairs.map(([name]) => name);
  module.imports.push({ specifier: clause.specifier, kind: 'reexport', names, line: next.line });
  if (clause.starName) module.exports.set(clause.starName, { from: clause.specifier, name: '*' });
  else if (clause.star) module.starExports.push(clause.specifier);
  for (const [name, exported] of clause.pairs) module.exports.set(exported, { from: clause.specifier, name });
}

function closesWithFrom(tokens: Token[], open: number): boolean {
  const close = tokens.findIndex((token, index) => index > open && token.text === '}');
  return tokens[close + 1]?.text === 'from' && tokens[close + 2]?.kind === 'string';
}

/** `export const a`, `export async function b`, `export interface C`, `export const { d, e: f } = …`. */
function readDeclaration(module: Module, tokens: Token[], start: number): void {
  let at = start;
  while (declarationWords.has(tokens[at]?.text ?? '') || tokens[at]?.text === '*') at += 1;
  const token = tokens[at];
  if (token?.kind === 'word') module.exports.set(token.text, undefined);
  if (token?.text !== '{' && token?.text !== '[') return;
  for (at += 1; tokens[at] && tokens[at]?.text !== '='; at += 1) {
    const name = tokens[at];
    if (name?.kind === 'word' && tokens[at + 1]?.text !== ':') module.exports.set(name.text, undefined);
  }
}
