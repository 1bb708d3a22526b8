import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WirtError } from '@wirt/api';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { resolveConfig, type Surroundings } from './config.ts';
import { readOptions } from './options.ts';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'wirt-config-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

const root: Surroundings = {
  env: {},
  uid: 0,
  architecture: 'x64',
  systemdRuns: false,
  groups: () => 'root:x:0:\nkvm:x:108:a,b\n',
};

/** With state and run directory in the test's own. */
function config(argv: string[] = [], around: Partial<Surroundings> = {}) {
  const own = ['--state-dir', join(directory, 'state'), '--run-dir', join(directory, 'run')];
  return resolveConfig(readOptions([...own, ...argv], around.env ?? {}), { ...root, ...around });
}

function refusal(run: () => unknown): WirtError {
  try {
    run();
  } catch (error) {
    if (error instanceof WirtError) return error;
    throw error;
  }
  throw new Error('It was accepted.');
}

describe('the configuration', () => {
  it('takes catalogues by name, in their order, and refuses what is no pair of name and address', () => {
    const resolved = config(['--catalogues', 'own=https://images.example/, ubuntu=https://u.example']);
    expect(Object.entries(resolved.catalogues)).toEqual([
      ['own', 'https://images.example/'],
      ['ubuntu', 'https://u.example'],
    ]);
    const refused = refusal(() => config(['--catalogues', 'https://images.example']));
    expect(refused.message).toContain('is not NAME=URL');
  });

  it('has a default for everything else', () => {
    expect(config()).toEqual({
      stateDirectory: join(directory, 'state'),
      runDirectory: join(directory, 'run'),
      socketPath: join(directory, 'run/wirtd.sock'),
      socketGid: undefined,
      logLevel: 'info',
      qemuBinary: 'qemu-system-x86_64',
      uidRange: { first: 0x7f000000, count: 65536 },
      uidClaimDirectory: '/run/wirt-uids',
      cgroupParent: 'wirt',
      networkDriver: 'auto',
      tunesHost: true,
      catalogues: {
        incus: 'https://images.linuxcontainers.org',
        ubuntu: 'https://cloud-images.ubuntu.com/releases',
      },
      tag: expect.stringMatching(/^[0-9a-f]{8}$/),
      systemd: false,
    });
  });

  it('puts an ordinary user’s files where that user’s files are', () => {
    const env = { XDG_STATE_HOME: join(directory, 's'), XDG_RUNTIME_DIR: join(directory, 'r') };
    const found = resolveConfig({}, { ...root, uid: 1000, env });
    expect(found).toMatchObject({
      stateDirectory: join(directory, 's/wirt'),
      runDirectory: join(directory, 'r/wirt'),
    });
    const home = { HOME: directory, XDG_RUNTIME_DIR: join(directory, 'q') };
    expect(resolveConfig({}, { ...root, uid: 1000, env: home }).stateDirectory).toBe(
      join(directory, '.local/state/wirt'),
    );
  });

  it('has the same tag for the same state directory, by whichever path', () => {
    const { tag } = config();
    symlinkSync(join(directory, 'state'), join(directory, 'link'));
    expect(config(['--state-dir', join(directory, 'link')]).tag).toBe(tag);
    expect(config(['--state-dir', join(directory, 'state/')]).tag).toBe(tag);
  });

  it('uses systemd only where it runs and wirtd is root', () => {
    expect(config([], { systemdRuns: true }).systemd).toBe(true);
    expect(config([], { systemdRuns: true, uid: 1000 }).systemd).toBe(false);
  });

  it('knows groups by name and by number', () => {
    expect(config(['--socket-group', 'kvm']).socketGid).toBe(108);
    expect(config(['--socket-group', '42']).socketGid).toBe(42);
  });

  it.each<[string[], RegExp]>([
    [['--state-dir', 'relative'], /^--state-dir must be an absolute path, and is relative\.$/],
    [['--run-dir', `/${'x'.repeat(60)}`], /^--run-dir is \d+ bytes too long for the sockets of guests/],
    [['--socket', `/${'x'.repeat(110)}`], /^--socket is 8 bytes too long for a Unix socket/],
    [['--socket-group', 'nobody-here'], /^--socket-group: there is no group nobody-here/],
    [['--log-level', 'loud'], /^--log-level must be one of debug, info, warn, error, and is loud\.$/],
    [['--uid-first', '999'], /^--uid-first must be a whole number from 1000 to 2147483647, and is 999\.$/],
    [['--uid-count', '0'], /^--uid-count must be a whole number from 1 /],
    [['--uid-count', '1e3'], /^--uid-count must be a whole number/],
    [['--uid-first', '2147483647', '--uid-count', '2'], /^--uid-count: 2 uids from 2147483647 on go beyond/],
    [['--cgroup-parent', '../x'], /^--cgroup-parent must be letters/],
    [['--qemu', 'sh -c x'], /^--qemu must be a path or the name of a program/],
    [['--uid-claims', 'x'], /^--uid-claims must be an absolute path/],
    [['--state-dir', '/proc/wirt'], /^--state-dir: the directory \/proc\/wirt cannot be used/],
  ])('refuses %j, naming the option', (argv, message) => {
    const error = refusal(() => config(argv));
    expect(error.code).toBe('daemon.config_invalid');
    expect(error.message).toMatch(message);
    expect(error.hint).toBeDefined();
  });

  it('names the variable when the value came from there', () => {
    const env = { WIRT_LOG_LEVEL: 'loud' };
    expect(refusal(() => config([], { env })).message).toMatch(/^WIRT_LOG_LEVEL must be one of/);
  });

  it('refuses a file in the place of a directory', () => {
    writeFileSync(join(directory, 'file'), '');
    expect(refusal(() => config(['--state-dir', join(directory, 'file')])).message).toMatch(/cannot be used/);
    expect(refusal(() => config(['--state-dir', join(directory, 'file/x')])).message).toMatch(
      /cannot be used/,
    );
  });

  it('leaves uids to root', () => {
    for (const option of [
      ['--uid-first', '5000'],
      ['--uid-count', '5'],
      ['--uid-claims', '/x'],
    ]) {
      expect(refusal(() => config(option, { uid: 1000 })).message).toMatch(/can be used by root only/);
    }
  });

  it('refuses the run directory of another wirtd, whose guests would look like left-overs', () => {
    config();
    const error = refusal(() => config(['--state-dir', join(directory, 'other')]));
    expect(error.message).toContain(`with the state directory ${join(directory, 'state')}`);
    expect(config().runDirectory).toBe(join(directory, 'run'));
  });

  it('takes a run directory over whose owner was never written down', () => {
    mkdirSync(join(directory, 'run'));
    writeFileSync(join(directory, 'run/state-directory'), '');
    config();
    expect(readFileSync(join(directory, 'run/state-directory'), 'utf8')).toBe(
      `${join(directory, 'state')}\n`,
    );
  });

  it('does not use a directory in /tmp that others may write', () => {
    const uid = 4_000_000 + process.pid;
    const path = `/tmp/wirt-${uid}`;
    mkdirSync(path);
    try {
      chmodSync(path, 0o777);
      const around = { ...root, uid, env: { XDG_STATE_HOME: directory } };
      expect(refusal(() => resolveConfig({}, around)).message).toMatch(/does not belong to you alone/);
    } finally {
      rmSync(path, { recursive: true });
    }
  });
});
