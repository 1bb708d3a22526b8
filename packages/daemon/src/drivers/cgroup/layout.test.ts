import { describe, expect, it } from 'vitest';
import type { CgroupMount } from '../../platform/cgroup-mounts.ts';
import {
  chooseHierarchies,
  type Hierarchy,
  isSafeName,
  joinFile,
  parseOomKills,
  parseProcs,
  usedControllers,
} from './layout.ts';

const v1 = (...controllers: string[]): CgroupMount => ({
  version: 'v1',
  mountPoint: `/cg/${controllers.join(',')}`,
  controllers,
  readOnly: false,
});
const v2: CgroupMount = { version: 'v2', mountPoint: '/cg/unified', controllers: [], readOnly: false };

describe('the hierarchies that guests have groups in', () => {
  const choose = (mounts: CgroupMount[], v2Controllers: string): string[] =>
    chooseHierarchies(mounts, v2Controllers, usedControllers).map(({ version, controllers }) =>
      `${version} ${controllers.join(' ')}`.trim(),
    );

  it('leave out devices, network classes, named ones, and a v2 that only has huge pages', () => {
    const mounts = [v1('cpu', 'cpuacct'), v1('memory'), v1('devices'), v1('net_cls'), v1('name=systemd'), v2];
    expect(choose(mounts, 'hugetlb\n')).toEqual(['v1 cpu cpuacct', 'v1 memory']);
  });

  it('take a v2 beside v1 as soon as it has a controller of use', () => {
    expect(choose([v1('memory'), v2], 'io hugetlb\n')).toEqual(['v1 memory', 'v2 io']);
  });

  it('take a pure v2 whatever is delegated there', () => {
    expect(choose([v2], 'cpuset cpu io memory hugetlb pids rdma misc\n')).toEqual([
      'v2 cpuset cpu io memory pids',
    ]);
    expect(choose([v2], '')).toEqual(['v2']);
  });
});

describe('what the kernel says of a group', () => {
  it('is joined by thread on v1, which is fast, and by process on v2', () => {
    const at = (version: 'v1' | 'v2'): Hierarchy => ({ version, mountPoint: '/cg', controllers: [] });
    expect(joinFile(at('v1'), '/cg/wirt/a/b')).toBe('/cg/wirt/a/b/tasks');
    expect(joinFile(at('v2'), '/cg/wirt/a/b')).toBe('/cg/wirt/a/b/cgroup.procs');
  });

  it('has its memory kills counted on both versions', () => {
    expect(parseOomKills('low 0\nhigh 0\nmax 12\noom 2\noom_kill 3\noom_group_kill 0\n')).toBe(3);
    expect(parseOomKills('oom_kill_disable 0\nunder_oom 0\noom_kill 1\n')).toBe(1);
    expect(parseOomKills('oom_kill_disable 0\nunder_oom 0\n')).toBe(0);
  });

  it('never yields 0 or 1 as a process to kill', () => {
    expect(parseProcs('0\n1\n4711\n\nx\n')).toEqual([4711]);
  });
});

describe('names of groups', () => {
  it('cannot leave their directory', () => {
    for (const name of ['', '.', '..', 'a/b', '-a', 'a\0', 'a b', 'x'.repeat(65)])
      expect(isSafeName(name)).toBe(false);
    expect(isSafeName('01J9ZK3W8Y7Q5T2R4M6N8P0V1X')).toBe(true);
  });
});
