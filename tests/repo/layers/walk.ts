// Walks every import of the repository against layers.json. Works on a tree held in memory (path -> text), so that a
// test can plant a violation into the real tree. Type imports count like any other. What cannot be read is a violation.
import { builtinModules } from 'node:module';
import { posix } from 'node:path';
import { findCycles } from './cycles.ts';
import { type Import, type Module, readModule } from './imports.ts';
import { exportedFile, type Package, packageOf, readPackages, splitSpecifier } from './packages.ts';
import { isTestFile, type LayerTable, type Place, placeOf } from './table.ts';

export type Rule =
  | 'unreadable'
  | 'no-layer'
  | 'layer'
  | 'node-builtin'
  | 'npm-package'
  | 'undeclared'
  | 'deep-import'
  | 'missing'
  | 'test-import'
  | 'cycle';

export interface Violation {
  rule: Rule;
  file: string;
  line: number;
  message: string;
}

export interface Walk {
  violations: Violation[];
  files: number;
  imports: number;
}

interface Context {
  table: LayerTable;
  files: ReadonlyMap<string, string>;
  packages: Package[];
  modules: Map<string, Module>;
  edges: Map<string, Set<string>>;
  violations: Violation[];
}

const codeFile = /\.(ts|tsx|mts|cts|js|jsx|mjs|cjs)$/;
const readableFile = /\.(ts|mts|js|mjs)$/;

/** Checks all code files of the tree. */
export function walk(files: ReadonlyMap<string, string>, table: LayerTable): Walk {
  const context: Context = {
    table,
    files,
    packages: readPackages(files),
    modules: new Map(),
    edges: new Map(),
    violations: [],
  };
  const paths = [...files.keys()].filter((path) => codeFile.test(path));
  for (const path of paths) readFile(context, path);
  let imports = 0;
  for (const [path, module] of context.modules) {
    imports += module.imports.length;
    const place = placeOf(table, path);
    if (!place) report(context, 'no-layer', path, 1, 'is in no layer of layers.json');
    else for (const each of module.imports) checkImport(context, path, place, each);
  }
  for (const cycle of findCycles(context.edges)) {
    report(
      context,
      'cycle',
      cycle[0] ?? '',
      1,
      `imports itself in a circle: ${[...cycle, cycle[0]].join(' -> ')}`,
    );
  }
  return { violations: context.violations, files: context.modules.size, imports };
}

function readFile(context: Context, path: string): void {
  if (!readableFile.test(path)) {
    report(context, 'unreadable', path, 1, 'is code in a form that the layer walker does not read');
    return;
  }
  try {
    context.modules.set(path, readModule(context.files.get(path) ?? ''));
  } catch (error) {
    report(context, 'unreadable', path, 1, error instanceof Error ? error.message : String(error));
  }
}

function report(context: Context, rule: Rule, file: string, line: number, message: string): void {
  context.violations.push({ rule, file, line, message: `${file}:${line} ${message}` });
}

function checkImport(context: Context, from: string, place: Place, each: Import): void {
  const { specifier } = each;
  const isTest = isTestFile(context.table, from);
  if (specifier.startsWith('.')) return checkRelative(context, from, place, each);
  if (specifier.startsWith('node:')) {
    if (place.layer.node || (isTest && context.table.testFiles.node)) return;
    return report(
      context,
      'node-builtin',
      from,
      each.line,
      `imports ${specifier}: ${place.layer.name} runs without Node`,
    );
  }
  if (builtinModules.includes(specifier)) {
    return report(context, 'node-builtin', from, each.line, `imports ${specifier}: write node:${specifier}`);
  }
  if (!/^(@[a-z0-9-]+(\.[a-z0-9-]+)*\/)?[a-z0-9][\w.-]*(\/|$)/.test(specifier)) {
    return report(context, 'unreadable', from, each.line, `imports "${specifier}", which is no package name`);
  }
  const { name, subpath } = splitSpecifier(specifier);
  const workspace = context.packages.find((candidate) => candidate.name === name);
  checkDeclared(context, from, each, name, isTest);
  if (workspace) return checkWorkspace(context, from, place, each, workspace, subpath);
  const allowed = place.layer.npm.includes(name) || (isTest && context.table.testFiles.npm.includes(name));
  if (!allowed) {
    report(
      context,
      'npm-package',
      from,
      each.line,
      `imports ${name}, which layers.json does not allow ${place.layer.name}`,
    );
  }
}

function checkRelative(context: Context, from: string, place: Place, each: Import): void {
  if (each.kind === 'url' && !from.startsWith('packages/')) return; // tools and tests read sources as data
  const to = posix.join(posix.dirname(from), each.specifier);
  if (packageOf(context.packages, from) !== packageOf(context.packages, to)) {
    return report(
      context,
      'deep-import',
      from,
      each.line,
      `reaches into another package by path: ${each.specifier}`,
    );
  }
  if (to.endsWith('.json') || (each.kind === 'url' && to.endsWith('.mjs'))) return; // data; a built file
  if (!context.files.has(to)) {
    return report(
      context,
      'missing',
      from,
      each.line,
      `imports ${each.specifier}, which is no file (extension written?)`,
    );
  }
  checkTarget(context, from, place, each, to);
}

function checkWorkspace(
  context: Context,
  from: string,
  place: Place,
  each: Import,
  target: Package,
  subpath: string,
): void {
  if (packageOf(context.packages, from) === target) {
    return report(
      context,
      'deep-import',
      from,
      each.line,
      `imports its own package ${target.name}: use a path`,
    );
  }
  const file = exportedFile(target, subpath);
  if (file === undefined) {
    const message = `imports ${each.specifier}, which ${target.name} does not export`;
    return report(context, 'deep-import', from, each.line, message);
  }
  if (!context.files.has(file)) {
    return report(context, 'missing', from, each.line, `imports ${each.specifier}, but there is no ${file}`);
  }
  for (const origin of origins(context, file, each.names)) checkTarget(context, from, place, each, origin);
}

/** Files that declare the names, followed through the re-exports of the package's entry file. */
function origins(
  context: Context,
  file: string,
  names: string[] | '*',
  seen = new Set<string>(),
): Set<string> {
  const module = context.modules.get(file);
  const key = `${file} ${String(names)}`;
  if (!module || seen.has(key)) return new Set([file]);
  seen.add(key);
  const follow = (specifier: string, wanted: string[] | '*'): Set<string> =>
    specifier.startsWith('.')
      ? origins(context, posix.join(posix.dirname(file), specifier), wanted, seen)
      : new Set([file]);
  if (names === '*') {
    const all = module.imports.filter((each) => each.kind === 'reexport');
    return new Set([file, ...all.flatMap((each) => [...follow(each.specifier, each.names)])]);
  }
  const found = new Set<string>();
  for (const name of names) {
    const entry = module.exports.get(name);
    if (entry)
      for (const each of follow(entry.from, entry.name === '*' ? '*' : [entry.name])) found.add(each);
    else if (module.exports.has(name) || module.starExports.length === 0) found.add(file);
    else for (const star of module.starExports) addDeclaring(context, file, star, name, found);
  }
  return found;
}

function addDeclaring(context: Context, file: string, star: string, name: string, found: Set<string>): void {
  const target = posix.join(posix.dirname(file), star);
  const module = context.modules.get(target);
  if (module?.exports.has(name) || module?.starExports.length) {
    for (const each of origins(context, target, [name])) found.add(each);
  }
}

function checkTarget(context: Context, from: string, place: Place, each: Import, to: string): void {
  if (each.kind !== 'url' && to !== from) addEdge(context, from, to);
  if (isTestFile(context.table, to) && !isTestFile(context.table, from)) {
    const testPackage = packageOf(context.packages, from)?.name === '@wirt/tests';
    if (!testPackage) report(context, 'test-import', from, each.line, `imports the test file ${to}`);
  }
  const target = placeOf(context.table, to);
  if (!target) return; // reported where the file itself is checked
  if (target.layer === place.layer && target.group === place.group) return;
  if (target.layer !== place.layer && place.layer.imports.includes(target.layer.name)) return;
  if (isTestFile(context.table, from) && context.table.testFiles.imports.includes(target.layer.name)) return;
  const what = target.layer === place.layer ? `its sibling ${target.group}` : target.layer.name;
  report(context, 'layer', from, each.line, `imports ${to}: ${place.layer.name} may not import ${what}`);
}

function addEdge(context: Context, from: string, to: string): void {
  const targets = context.edges.get(from) ?? new Set();
  context.edges.set(from, targets.add(to));
}

function checkDeclared(context: Context, from: string, each: Import, name: string, isTest: boolean): void {
  const owner = packageOf(context.packages, from);
  if (!owner || owner.name === name || owner.runtime.has(name)) return;
  const root = context.packages.find((candidate) => candidate.folder === '');
  const shipped = owner.folder.startsWith('packages/') && !isTest && each.kind !== 'type';
  if (!shipped && owner.development.has(name)) return;
  if (isTest && context.table.testFiles.npm.includes(name) && root?.development.has(name)) return;
  const file = owner.folder === '' ? 'package.json' : `${owner.folder}/package.json`;
  report(context, 'undeclared', from, each.line, `imports ${name}, which ${file} does not declare`);
}
