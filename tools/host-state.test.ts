// What the comparison of the host before and after the tests notices, on things really left behind for a moment.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { leftBehind, readHostState, settle } from './host-state.ts';

describe('the comparison of the host', () => {
  it('finds nothing between two readings in which nothing happened', () => {
    const state = readHostState();
    expect(leftBehind(state, state)).toEqual([]);
  });

  it('names a file that was left', () => {
    const before = readHostState();
    const folder = mkdtempSync(join(tmpdir(), 'wirt-planted-'));
    expect(leftBehind(before, readHostState())).toContain(`file: ${folder}`);
    rmSync(folder, { recursive: true });
  });

  it.each([
    ['QEMU', 'qemu-system-planted'],
    ['builder of images', 'mmdebstrap'],
  ])('names a %s that still runs, and waits for one that is about to go', async (_, argv0) => {
    const before = readHostState();
    const child = spawn('sleep', ['60'], { argv0, stdio: 'ignore' });
    await once(child, 'spawn');
    const planted = `process: ${child.pid} `;
    expect(leftBehind(before, readHostState()).filter((each) => each.startsWith(planted))).toHaveLength(1);
    child.kill('SIGKILL');
    await once(child, 'exit');
    const left = await settle(before, 0);
    expect(left.filter((each) => each.startsWith(planted))).toEqual([]);
  });

  it.skipIf(process.getuid?.() !== 0)('names a mount (needs root)', () => {
    const before = readHostState();
    const folder = mkdtempSync(join(tmpdir(), 'planted-'));
    try {
      execFileSync('mount', ['-t', 'tmpfs', 'planted', folder]);
      expect(leftBehind(before, readHostState())).toContain(`mount: ${folder}`);
    } finally {
      execFileSync('umount', [folder]);
      rmSync(folder, { recursive: true });
    }
  });

  it('does not count what was there before', () => {
    const before = new Set(['network bridge: virbr0', 'mount: /mnt']);
    expect(leftBehind(before, new Set(['mount: /mnt', 'cgroup: /sys/fs/cgroup/wirt']))).toEqual([
      'cgroup: /sys/fs/cgroup/wirt',
    ]);
  });
});
