import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { systemFiles } from './init-script.ts';

const files = systemFiles(['virtio_ring', 'virtio']);
const textOf = (path: string): string | undefined =>
  files
    .filter((entry) => entry.kind === 'file')
    .find((entry) => entry.path === path)
    ?.data.toString();

describe('the files of the guest', () => {
  const scripts = files
    .filter((entry) => entry.kind === 'file' && entry.mode === 0o755)
    .map(({ path }) => path);

  it.each(scripts)('%s is a script that a shell can parse', (path) => {
    const text = textOf(path);
    expect(text).toMatch(/^#!\/bin\/sh\n/);
    const check = spawnSync('sh', ['-n'], { input: text });
    expect(check.stderr.toString()).toBe('');
  });

  it('name only scripts that are there in the inittab', () => {
    const own = [...(textOf('etc/inittab') ?? '').matchAll(/\/(etc\/init\.d\/\w+)/g)].map(
      (match) => match[1],
    );
    expect(own.length).toBeGreaterThan(0);
    expect(scripts).toEqual(expect.arrayContaining(own));
  });

  it('list the modules on one line, as the boot script reads them', () => {
    expect(textOf('etc/modules')).toBe('virtio_ring virtio\n');
  });

  it('are each there once', () => {
    const paths = files.map(({ path }) => path);
    expect(new Set(paths).size).toBe(paths.length);
  });
});
