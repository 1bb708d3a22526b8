// What the packages of the repository are called, what they declare, and which file a package specifier means by the
// package's own `exports`. Only string targets and one `*` per pattern are understood; anything else is a mistake.

export interface Package {
  name: string;
  /** Folder from the repository's root; '' for the root itself. */
  folder: string;
  exports: Record<string, string>;
  /** dependencies, optionalDependencies and peerDependencies */
  runtime: Set<string>;
  development: Set<string>;
}

/** Reads every package.json of the tree (path -> text). */
export function readPackages(files: ReadonlyMap<string, string>): Package[] {
  const packages: Package[] = [];
  for (const [path, text] of files) {
    if (path !== 'package.json' && !path.endsWith('/package.json')) continue;
    const json = JSON.parse(text) as Record<string, unknown>;
    const keys = (field: string): string[] => Object.keys((json[field] as object | undefined) ?? {});
    packages.push({
      name: String(json['name']),
      folder: path.slice(0, -'package.json'.length).replace(/\/$/, ''),
      exports: readExports(path, json['exports']),
      runtime: new Set(['dependencies', 'optionalDependencies', 'peerDependencies'].flatMap(keys)),
      development: new Set(keys('devDependencies')),
    });
  }
  return packages;
}

function readExports(path: string, value: unknown): Record<string, string> {
  if (value === undefined) return {};
  if (typeof value === 'string') return { '.': value };
  const targets = Object.entries(value as Record<string, unknown>);
  const odd = targets.find(([, target]) => typeof target !== 'string');
  if (odd)
    throw new Error(`${path}: exports "${odd[0]}" has conditions, which the layer walker does not read`);
  return Object.fromEntries(targets) as Record<string, string>;
}

/** The innermost package that contains the file. */
export function packageOf(packages: readonly Package[], file: string): Package | undefined {
  return packages
    .filter((each) => each.folder === '' || file.startsWith(`${each.folder}/`))
    .sort((a, b) => b.folder.length - a.folder.length)[0];
}

/** `@scope/name/sub/path` -> name and subpath ('.' or './sub/path'). */
export function splitSpecifier(specifier: string): { name: string; subpath: string } {
  const parts = specifier.split('/');
  const name = parts.slice(0, specifier.startsWith('@') ? 2 : 1).join('/');
  const rest = specifier.slice(name.length + 1);
  return { name, subpath: rest === '' ? '.' : `./${rest}` };
}

/** The file that the package exports under the subpath, from the repository's root; undefined when it exports none. */
export function exportedFile(target: Package, subpath: string): string | undefined {
  for (const [pattern, file] of Object.entries(target.exports)) {
    const [head = '', tail] = pattern.split('*');
    if (tail === undefined) {
      if (pattern === subpath) return inPackage(target, file);
    } else if (
      subpath.startsWith(head) &&
      subpath.endsWith(tail) &&
      subpath.length > head.length + tail.length
    ) {
      const middle = subpath.slice(head.length, subpath.length - tail.length);
      if (!middle.includes('..')) return inPackage(target, file.replace('*', middle));
    }
  }
  return undefined;
}

function inPackage(target: Package, file: string): string {
  const path = file.replace(/^\.\//, '');
  return target.folder === '' ? path : `${target.folder}/${path}`;
}
