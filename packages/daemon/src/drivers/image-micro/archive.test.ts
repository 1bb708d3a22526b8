import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { type ArchiveEntry, parentDirectories, writeCpio } from './archive.ts';

const entries: readonly ArchiveEntry[] = [
  { kind: 'directory', path: 'bin' },
  { kind: 'file', path: 'bin/tool', data: 'abcde', mode: 0o755 },
  { kind: 'file', path: 'empty', data: '' },
  { kind: 'symlink', path: 'init', target: 'bin/tool' },
  { kind: 'device', path: 'console', major: 5, minor: 1 },
];

describe('writeCpio', () => {
  const hasCpio = spawnSync('cpio', ['--version']).status === 0;

  // A host without cpio can still build the image.
  it.skipIf(!hasCpio)('is read by cpio(1), with owner, mode, date and kind', () => {
    const listing = spawnSync('cpio', ['--list', '--verbose', '--numeric-uid-gid', '--quiet'], {
      input: writeCpio(entries),
      env: { ...process.env, TZ: 'UTC', LC_ALL: 'C' },
    });
    expect(listing.stderr.toString()).toBe('');
    const lines = listing.stdout
      .toString()
      .trim()
      .split('\n')
      .map((line) => line.replaceAll(/\s+/g, ' '));
    expect(lines).toEqual([
      'drwxr-xr-x 2 0 0 0 Jan 1 1970 bin',
      '-rwxr-xr-x 1 0 0 5 Jan 1 1970 bin/tool',
      '-rw-r--r-- 1 0 0 0 Jan 1 1970 empty',
      'lrwxrwxrwx 1 0 0 8 Jan 1 1970 init -> bin/tool',
      'crw------- 1 0 0 5, 1 Jan 1 1970 console',
    ]);
  });

  it('aligns every member to four bytes', () => {
    const archive = writeCpio([{ kind: 'file', path: 'x', data: 'y' }]);
    expect(archive.length % 4).toBe(0);
    expect(archive.indexOf('070701', 6) % 4).toBe(0);
  });

  it('gives equal bytes for equal entries', () => {
    expect(writeCpio(entries).equals(writeCpio(entries))).toBe(true);
  });
});

describe('parentDirectories', () => {
  it('names each folder once, the outer before the inner', () => {
    const paths = parentDirectories(['a/b/c', 'a/d', 'x', 'usr/bin/']).map(({ path }) => path);
    expect(paths).toEqual(['a', 'a/b', 'usr', 'usr/bin']);
  });
});
