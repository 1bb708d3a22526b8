import { describe, expect, it } from 'vitest';
import { progressReader, tellingLine } from './progress.ts';

describe('progressReader', () => {
  it('counts bytes of downloads and steps of packages, and names the stages', () => {
    const seen: string[] = [];
    const read = progressReader(({ stage, done, total, unit }) =>
      seen.push(`${stage} ${done}/${total} ${unit}`),
    );
    for (const line of [
      'I: running apt-get update...',
      'Get:1 http://mirror.example/debian bookworm InRelease [151 kB]',
      '0 upgraded, 2 newly installed, 0 to remove and 0 not upgraded.',
      'Need to get 2,500 kB/3,000 kB of archives.',
      'Get:1 http://mirror.example/debian bookworm/main amd64 libc6 amd64 2.36-9 [1,500 kB]',
      'Get:2 http://mirror.example/debian bookworm/main amd64 bash amd64 5.2-2 [1.1 MB]',
      'I: extracting archives...',
      'Unpacking libc6:amd64 (2.36-9) ...',
      'Setting up libc6:amd64 (2.36-9) ...',
      'Setting up a trap is no package',
      'wirt: making the initramfs',
    ]) {
      read(line);
    }
    expect(seen).toEqual([
      'fetching package lists 0/1 steps',
      'downloading packages 1500000/2500000 bytes',
      'downloading packages 2500000/2500000 bytes',
      'unpacking the essential packages 0/1 steps',
      'installing packages 1/4 steps',
      'installing packages 2/4 steps',
      'installing packages 3/4 steps',
      'making the initramfs 0/1 steps',
    ]);
  });

  it('does not count downloads when apt has all it needs', () => {
    const seen: unknown[] = [];
    const read = progressReader((progress) => seen.push(progress));
    read('Need to get 0 B/29.7 MB of archives.');
    read('Get:1 http://mirror.example/debian bookworm InRelease [151 kB]');
    expect(seen).toEqual([]);
  });
});

describe('tellingLine', () => {
  it.each([
    [
      'I: x\nE: Unable to locate package nosuch\nE: run_chroot failed\n',
      'E: Unable to locate package nosuch',
    ],
    [
      'Err:1 http://mirror.example/debian bookworm InRelease\nE: apt-get update failed',
      'Err:1 http://mirror.example/debian bookworm InRelease',
    ],
    ['dpkg: error processing package x\nE: Sub-process returned 1', 'dpkg: error processing package x'],
    ['E: command failed: /hooks/customize\n', 'E: command failed: /hooks/customize'],
    ['I: all well\n', undefined],
  ])('of %j is %j', (output, line) => {
    expect(tellingLine(output)).toBe(line);
  });
});
