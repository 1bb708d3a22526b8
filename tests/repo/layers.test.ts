// Holds the repository to the import table of layers.json, and the walker to its job: into the real tree a violation of
// every kind is planted, and each must be caught. A walker that sees nothing passes nothing.
import { describe, expect, it } from 'vitest';
import type { LayerTable } from './layers/table.ts';
import { tableMistakes } from './layers/table.ts';
import { type Rule, type Violation, walk } from './layers/walk.ts';
import { listFiles, readText } from './tree.ts';

const table = JSON.parse(readText('layers.json')) as LayerTable;
const paths = listFiles().filter(
  (path) =>
    /\.[cm]?[jt]sx?$|(^|\/)package\.json$/.test(path) && !table.ignore.some((each) => path.startsWith(each)),
);
const tree = new Map(paths.map((path) => [path, readText(path)]));

const known = new Set(walk(tree, table).violations.map((each) => each.message));

/** What the walker finds when these files are added to (or replaced in) the real tree, and only that. */
function planted(files: Record<string, string>): Violation[] {
  const found = walk(new Map([...tree, ...Object.entries(files)]), table).violations;
  return found.filter((each) => !known.has(each.message));
}

describe('layers.json', () => {
  it('names only layers that it defines', () => {
    expect(tableMistakes(table)).toEqual([]);
  });

  it('is kept by every import of the repository', () => {
    const { violations } = walk(tree, table);
    expect(violations.map((each) => `${each.rule}: ${each.message}`)).toEqual([]);
  });

  it('is checked against all the code there is, and not against an empty list', () => {
    const { files, imports } = walk(tree, table);
    expect(files).toBe(paths.filter((path) => !path.endsWith('.json')).length);
    expect(files).toBeGreaterThan(50);
    expect(imports).toBeGreaterThan(files);
  });
});

const driver = 'packages/daemon/src/drivers';
const header = '// Planted.\n';

interface Plant {
  what: string;
  rule: Rule;
  files: Record<string, string>;
}

const plants: Plant[] = [
  {
    what: 'a driver that imports another driver',
    rule: 'layer',
    files: {
      [`${driver}/one/one.ts`]: "import { two } from '../two/two.ts';\nexport const one = two;\n",
      [`${driver}/two/two.ts`]: 'export const two = 2;\n',
    },
  },
  {
    what: 'a driver that imports a mere type of the QEMU driver',
    rule: 'layer',
    files: {
      [`${driver}/one/one.ts`]: "export type One = import('../qemu/planted.ts').Planted;\n",
      [`${driver}/qemu/planted.ts`]: 'export interface Planted {}\n',
    },
  },
  {
    what: 'a driver other than qemu that talks QMP',
    rule: 'layer',
    files: { [`${driver}/one/one.ts`]: "import * as qmp from '@wirt/qemu';\nexport const one = qmp;\n" },
  },
  {
    what: 'a driver that imports an action through the index of core',
    rule: 'layer',
    files: {
      'packages/core/src/index.ts':
        "export * from './domain/planted.ts';\nexport { act } from './actions/planted.ts';\n",
      'packages/core/src/domain/planted.ts': 'export const rule = 1;\n',
      'packages/core/src/actions/planted.ts': 'export const act = 1;\n',
      [`${driver}/one/one.ts`]: "import { act } from '@wirt/core';\nexport const one = act;\n",
    },
  },
  {
    what: 'an api that imports node:',
    rule: 'node-builtin',
    files: {
      'packages/api/src/planted.ts': "import { join } from 'node:path';\nexport const planted = join('a');\n",
    },
  },
  {
    what: 'a builtin module without its node: prefix',
    rule: 'node-builtin',
    files: {
      'packages/cli/src/planted.ts': "import { join } from 'path';\nexport const planted = join('a');\n",
    },
  },
  {
    what: 'a core that imports the daemon by path',
    rule: 'deep-import',
    files: { 'packages/core/src/domain/planted.ts': "export * from '../../../daemon/src/config.ts';\n" },
  },
  {
    what: 'a domain that imports an action',
    rule: 'layer',
    files: {
      'packages/core/src/domain/planted.ts':
        "import type { Act } from '../actions/planted.ts';\nexport type P = Act;\n",
      'packages/core/src/actions/planted.ts': 'export interface Act {}\n',
    },
  },
  {
    what: 'a front end that imports another front end',
    rule: 'layer',
    files: {
      'packages/daemon/src/frontends/ec2/planted.ts':
        "export const door = await import('../rest/planted.ts');\n",
      'packages/daemon/src/frontends/rest/planted.ts': 'export const rest = 1;\n',
    },
  },
  {
    what: 'a test that imports the daemon',
    rule: 'deep-import',
    files: { 'tests/functional/planted.test.ts': "import '../../packages/daemon/src/main.ts';\n" },
  },
  {
    what: 'a circle that is closed by a type import',
    rule: 'cycle',
    files: {
      'packages/qemu/src/planted-a.ts': "import { b } from './planted-b.ts';\nexport const a = b;\n",
      'packages/qemu/src/planted-b.ts':
        "import type { a } from './planted-a.ts';\nexport const b = 1 as typeof a;\n",
    },
  },
  {
    what: 'a dependency that the package does not declare, though npm has hoisted it',
    rule: 'undeclared',
    files: {
      'packages/api/src/planted.ts': "import { ulid } from 'ulid';\nexport const planted = ulid();\n",
    },
  },
  {
    what: 'a workspace package that the package does not declare',
    rule: 'undeclared',
    files: {
      'packages/qemu/src/planted.ts': "import type { Problem } from '@wirt/api';\nexport type P = Problem;\n",
    },
  },
  {
    what: 'a declared package in a layer that is not allowed it',
    rule: 'npm-package',
    files: { [`${driver}/one/one.ts`]: "import fastify from 'fastify';\nexport const one = fastify;\n" },
  },
  {
    what: "an import past a package's exports",
    rule: 'deep-import',
    files: { 'packages/cli/src/planted.ts': "export { errors } from '@wirt/api/src/errors.ts';\n" },
  },
  {
    what: 'an import of a file that is not there',
    rule: 'missing',
    files: { 'packages/cli/src/planted.ts': "import './planted-too';\n" },
  },
  {
    what: 'a product file that imports a test',
    rule: 'test-import',
    files: {
      'packages/cli/src/planted.ts': "export { t } from './planted.test.ts';\n",
      'packages/cli/src/planted.test.ts': 'export const t = 1;\n',
    },
  },
  {
    what: 'a product file that imports a fake',
    rule: 'layer',
    files: {
      'packages/core/src/actions/planted.ts': "export { fake } from '../fakes/planted.ts';\n",
      'packages/core/src/fakes/planted.ts': 'export const fake = 1;\n',
    },
  },
  {
    what: 'a dynamic import that nobody can check',
    rule: 'unreadable',
    files: { 'packages/cli/src/planted.ts': 'export const load = (name: string) => import(name);\n' },
  },
  {
    what: 'a file that cannot be read',
    rule: 'unreadable',
    files: { 'packages/cli/src/planted.ts': "export const open = 'never closed;\n" },
  },
  {
    what: 'a file in a folder that no layer claims',
    rule: 'no-layer',
    files: { 'packages/daemon/src/elsewhere/planted.ts': 'export const planted = 1;\n' },
  },
];

describe('the layer walker catches', () => {
  it.each(plants)('$what', ({ rule, files }) => {
    const found = planted(
      Object.fromEntries(Object.entries(files).map(([path, text]) => [path, header + text])),
    );
    expect(found.map((each) => each.rule)).toContain(rule);
    expect(found.filter((each) => each.rule === rule).every((each) => each.file in files)).toBe(true);
  });

  it('nothing in a file that keeps the table', () => {
    const text = "import { readFile } from 'node:fs/promises';\nimport type { Problem } from '@wirt/api';\n";
    expect(
      planted({
        'packages/cli/src/planted.ts': `${header}${text}export type P = [Problem, typeof readFile];\n`,
      }),
    ).toEqual([]);
  });
});
