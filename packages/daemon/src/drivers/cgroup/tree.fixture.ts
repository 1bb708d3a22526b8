// A directory that looks like cgroupfs and /proc, for what the kernel of a test machine does not have: version 2 with controllers,
// and hosts under systemd. It takes every value, so what the kernel refuses is tried on the kernel.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { InstanceProcess } from '@wirt/api';

export interface FakeTree extends Disposable {
  readonly root: string;
  write(files: Readonly<Record<string, string>>): void;
  read(path: string): string;
}

export function makeTree(files: Readonly<Record<string, string>> = {}): FakeTree {
  const root = mkdtempSync(join(tmpdir(), 'wirt-cgroup-'));
  const tree: FakeTree = {
    root,
    write(more) {
      for (const [path, text] of Object.entries(more)) {
        mkdirSync(dirname(join(root, path)), { recursive: true });
        writeFileSync(join(root, path), text);
      }
    },
    read: (path) => readFileSync(join(root, path), 'utf8'),
    [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true }),
  };
  tree.write(files);
  return tree;
}

/** A new v2 group's files, below a path. */
export function v2Group(
  path: string,
  changed: Readonly<Record<string, string>> = {},
): Record<string, string> {
  const files = {
    'cpu.max': 'max 100000\n',
    'cpu.max.burst': '0\n',
    'cpu.weight': '100\n',
    'cpu.stat': 'usage_usec 1500000\nnr_periods 40\nnr_throttled 12\nthrottled_usec 250000\n',
    'memory.max': 'max\n',
    'memory.swap.max': 'max\n',
    'memory.low': '0\n',
    'memory.current': '104857600\n',
    'memory.swap.current': '4096\n',
    'cpu.pressure': 'some avg10=12.50 avg60=0.00 avg300=0.00 total=1\n',
    'memory.pressure': 'some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n',
    'io.pressure': 'some avg10=1.00 avg60=0.00 avg300=0.00 total=1\n',
    'cgroup.procs': '',
    'cgroup.subtree_control': 'cpu memory io\n',
    ...changed,
  };
  return Object.fromEntries(Object.entries(files).map(([file, text]) => [`${path}/${file}`, text]));
}

export const fakeProcess: InstanceProcess = { pid: 4711, startTicks: 777, uid: 0, gid: 0 };

/** `/proc` of it, in the groups given, one line for each hierarchy. */
export function procOf(groups: string): Record<string, string> {
  return {
    'proc/4711/cgroup': groups,
    'proc/4711/stat': `4711 (qemu) S ${'1 '.repeat(18)}777 0\n`,
    'proc/4711/task/4711/schedstat': '1000000000 500000000 9\n',
    'proc/4711/task/4712/schedstat': '250000000 0 9\n',
  };
}
