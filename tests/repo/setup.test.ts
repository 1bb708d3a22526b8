// tools/setup.sh on machines that are made up: a copy of it in a folder of its own, with stand-ins for dpkg-query,
// apt-get, sudo, id and npm as all of PATH that write down how they were called. Nothing of this host is touched.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { root } from './tree.ts';

let folder = '';
const at = (path: string): string => join(folder, path);

function standIn(name: string, script: string): void {
  writeFileSync(at(`bin/${name}`), `#!/bin/sh\n${script}\n`);
  chmodSync(at(`bin/${name}`), 0o755);
}

function setup(...options: string[]): { status: number | null; output: string; calls: string } {
  const env = { PATH: at('bin'), WIRT_OS_RELEASE: at('os-release'), CALLS: at('calls') };
  const run = spawnSync('/bin/sh', [at('tools/setup.sh'), ...options], {
    env,
    encoding: 'utf8',
    timeout: 10_000,
  });
  return { status: run.status, output: run.stdout + run.stderr, calls: readFileSync(at('calls'), 'utf8') };
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'setup-test-'));
  mkdirSync(at('bin'));
  mkdirSync(at('tools'));
  mkdirSync(at('node_modules'));
  copyFileSync(join(root, 'tools/setup.sh'), at('tools/setup.sh'));
  writeFileSync(at('package-lock.json'), '{}');
  writeFileSync(at('calls'), '');
  writeFileSync(at('os-release'), 'ID=debian\n');
  for (const program of ['cat', 'cksum', 'env']) symlinkSync(`/usr/bin/${program}`, at(`bin/${program}`));
  standIn('uname', 'echo x86_64');
  standIn('id', 'echo 0');
  standIn('npm', 'echo "npm $*" >> "$CALLS"');
  standIn('apt-get', 'echo "apt-get $*" >> "$CALLS"');
  // Everything is installed but QEMU and cpio.
  standIn('dpkg-query', 'case "$*" in *qemu-system-x86*|*cpio*) exit 1 ;; *) printf installed ;; esac');
});

afterEach(() => rmSync(folder, { recursive: true }));

describe('setting up a machine', () => {
  it('installs from Debian what is missing and nothing else, and says first what', () => {
    const { status, output, calls } = setup();
    expect(status).toBe(0);
    expect(output).toContain('setup: installing from Debian: qemu-system-x86 cpio\n');
    expect(calls).toMatch(/apt-get -y .*--no-install-recommends install qemu-system-x86 cpio\n/);
  });

  it('wants what builds and runs a cloud image, and what only tests need when asked', () => {
    standIn('dpkg-query', 'exit 1');
    const plain = setup().calls;
    const building = ['mmdebstrap', 'debian-archive-keyring', 'mtools', 'e2fsprogs', 'qemu-utils'];
    for (const name of [...building, 'genisoimage', 'ovmf', 'acl', 'openssh-client'])
      expect(plain).toMatch(new RegExp(`install .*\\b${name}\\b`));
    expect(plain).not.toMatch(/\bfio\b/);
    writeFileSync(at('calls'), '');
    expect(setup('--test').calls).toMatch(/install .*\bfio\b/);
  });

  it('touches nothing when nothing is missing, and takes the npm packages once per lock file', () => {
    standIn('dpkg-query', 'printf installed');
    expect(setup().calls).toMatch(/^npm ci .*\n$/);
    writeFileSync(at('calls'), '');
    expect(setup()).toEqual({ status: 0, output: '', calls: '' });
    writeFileSync(at('package-lock.json'), '{ "changed": true }');
    expect(setup().calls).toMatch(/^npm ci .*\n$/);
  });

  it('uses sudo for an ordinary user', () => {
    standIn('id', 'echo 1000');
    standIn('sudo', 'echo "sudo $*" >> "$CALLS"');
    const { status, calls } = setup();
    expect(status).toBe(0);
    expect(calls).toMatch(/sudo .*apt-get -y .*install qemu-system-x86 cpio\n/);
    expect(calls).not.toMatch(/^apt-get/m);
  });

  it('names what to install, and stops, on another distribution', () => {
    writeFileSync(at('os-release'), 'ID=fedora\nID_LIKE="rhel centos"\n');
    const there = [
      'qemu-img',
      'zstd',
      'xz',
      'setpriv',
      'ip',
      'nft',
      'dnsmasq',
      'ps',
      'dpkg-deb',
      'genisoimage',
      'ssh',
    ];
    for (const command of there) standIn(command, '');
    const { status, output, calls } = setup();
    expect(status).toBe(1);
    expect(output).toContain('Please install: qemu-system-x86_64 cpio\n');
    expect(calls).toBe('');
  });

  it('counts the kin of Debian as Debian', () => {
    writeFileSync(at('os-release'), 'ID=ubuntu\nID_LIKE=debian\n');
    expect(setup().calls).toContain('install qemu-system-x86 cpio\n');
  });

  it('tells an ordinary user without sudo what to run as root, and stops', () => {
    standIn('id', 'echo 1000');
    const { status, output, calls } = setup();
    expect(status).toBe(1);
    expect(output).toContain('apt-get install --no-install-recommends qemu-system-x86 cpio\n');
    expect(calls).toBe('');
  });

  it('leaves the system alone when only npm packages are asked for', () => {
    const { status, calls } = setup('--npm');
    expect(status).toBe(0);
    expect(calls).toMatch(/^npm ci .*\n$/);
  });

  it('fails, and does not go on to npm, when Debian cannot install', () => {
    standIn('apt-get', 'exit 100');
    const { status, calls } = setup();
    expect(status).not.toBe(0);
    expect(calls).toBe('');
  });
});
