// Holds the repository to the conventions of CONTRIBUTING.md that a machine can check, and proves on planted samples
// that each check can fail.
import { describe, expect, it } from 'vitest';
import { brokenRules } from './conventions/source-rules.ts';
import { barrels, machineAddresses, missingNouns, nounLayers, vagueNames } from './conventions/tree-rules.ts';
import { listFiles, readText } from './tree.ts';

const paths = listFiles().filter((path) => !path.startsWith('tests/repo/fixtures/'));
const isText = (path: string): boolean => !/\.(gz|png|ico|qcow2|bin|woff2)$/.test(path);
const files = paths.filter(isText).map((path) => ({ path, text: readText(path) }));

describe('every source file', () => {
  it('keeps the rules for sources', () => {
    expect(files.filter(({ path }) => path.endsWith('.ts')).length).toBeGreaterThan(50);
    expect(files.flatMap(brokenRules)).toEqual([]);
  });

  it('has a name that says what is inside', () => {
    expect(vagueNames(paths)).toEqual([]);
  });

  it('is imported directly and not through a barrel', () => {
    expect(barrels(files)).toEqual([]);
  });

  it('names no path of one machine and no mirror', () => {
    expect(machineAddresses(files)).toEqual([]);
  });
});

describe('the same noun', () => {
  it('has the same file name in every layer', () => {
    expect(missingNouns(paths)).toEqual([]);
  });

  it('is excused from a layer only while it is a noun of the contract', () => {
    const excused = nounLayers.flatMap(({ without }) => Object.keys(without));
    for (const noun of excused) expect(paths).toContain(`packages/api/src/routes/${noun}.ts`);
  });
});

const test = 'packages/core/src/planted.test.ts';
const plants: { rule: string; path?: string; text: string }[] = [
  { rule: 'file-size', text: `// Long.\n${'export {};\n'.repeat(600)}` },
  { rule: 'file-header', text: 'export const bare = 1;\n' },
  { rule: 'file-header', text: `${'// Too much to say.\n'.repeat(9)}export {};\n` },
  { rule: 'no-enum', text: '// Planted.\nexport enum Colour { Red }\n' },
  { rule: 'no-default-export', text: '// Planted.\nexport default 1;\n' },
  { rule: 'no-only', path: test, text: "// Planted.\nit.only('x', () => {});\n" },
  { rule: 'skip-with-reason', path: test, text: "// Planted.\n\nit.skip('x', () => {});\n" },
  { rule: 'skip-with-reason', path: test, text: '// Planted.\n\nit.skipIf(!root)("x", () => {});\n' },
  { rule: 'skip-with-reason', path: test, text: '// Planted.\n\nif (!root) context.skip();\n' },
  {
    rule: 'no-sleep',
    path: test,
    text: '// Planted.\n\nawait new Promise((wake) => setTimeout(wake, 100));\n',
  },
  {
    rule: 'no-sleep',
    path: test,
    text: '// Planted.\n\nawait new Promise((resolve) => setTimeout(() => resolve(1), 100));\n',
  },
  {
    rule: 'no-sleep',
    path: test,
    text: "// Planted.\n\nimport { setTimeout as sleep } from 'node:timers/promises';\n",
  },
];

describe('the checks of the conventions', () => {
  it.each(plants)('catch a planted $rule', ({ rule, path = 'packages/core/src/planted.ts', text }) => {
    const broken = brokenRules({ path, text });
    expect(broken).toHaveLength(1);
    expect(broken[0]).toMatch(new RegExp(`^${path}:\\d+ .*\\(${rule}\\)$`));
  });

  it('leave alone what is only written about, and what carries its reason', () => {
    const text = [
      '// Planted: an enum, export default, it.only(x).',
      "const words = 'enum Colour {'; // export default",
      '// needs /dev/kvm',
      "it.skipIf(noKvm)('runs', () => {});",
      "context.skip('needs root');",
      '',
      "describe.skipIf(!qemu)('the guest (needs qemu-system-x86_64)', () => {});",
      'describe.skipIf(why)(`the guest ${why}`, () => {});',
    ].join('\n');
    expect(brokenRules({ path: test, text })).toEqual([]);
  });

  it('catch vague names, barrels, missing nouns and machine paths', () => {
    expect(vagueNames(['packages/core/src/string-utils.ts', 'packages/core/src/undo.ts'])).toHaveLength(1);
    const manifest = { path: 'packages/a/package.json', text: '{ "exports": { ".": "./src/index.ts" } }' };
    const entry = { path: 'packages/a/src/index.ts', text: '' };
    expect(barrels([manifest, entry, { path: 'packages/a/src/deep/index.ts', text: '' }])).toEqual([
      'packages/a/src/deep/index.ts',
    ]);
    expect(missingNouns(['packages/api/src/routes/volume.ts'])).toHaveLength(nounLayers.length);
    const machine = ['', 'work', 'main'].join('/');
    expect(machineAddresses([{ path: 'a.ts', text: `cd ${machine}` }])).toEqual([
      'a.ts:1 names a path of one machine',
    ]);
    expect(machineAddresses([{ path: 'a.ts', text: 'the cgroup/work/queue' }])).toEqual([]);
  });
});
