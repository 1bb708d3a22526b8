// make install, into a folder of its own: what it puts there runs without the clone's node_modules and without any Node of
// the machine, and make uninstall takes exactly that away again.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { make } from './harness/make.ts';

let prefix = '';
const at = (path: string): string => join(prefix, path);

async function open(goal: string): Promise<string> {
  const { exitCode, output } = await make([goal, `PREFIX=${prefix}`, `SYSTEMD_UNITS=${at('units')}`]);
  expect(exitCode, output).toBe(0);
  return output;
}

/** Runs an installed program elsewhere, with nothing in PATH that could be a Node. */
function installed(program: string, ...args: string[]): string {
  const env = { PATH: '/nonexistent', HOME: at('home') };
  return execFileSync(at(`bin/${program}`), args, { cwd: '/', env, encoding: 'utf8' });
}

describe('make install', () => {
  beforeAll(async () => {
    prefix = await mkdtemp(join(tmpdir(), 'wirt-install-'));
    await open('install');
  });

  afterAll(() => rm(prefix, { recursive: true, force: true }));

  it('puts wirt and wirtd in place, with a Node of their own', () => {
    expect(installed('wirtd', '--version')).toMatch(/^wirtd \d+\.\d+\.\d+\n$/);
    expect(installed('wirt', '--help')).toContain('wirt COMMAND');
    expect(statSync(at('lib/wirt/node')).mode & 0o777).toBe(0o755);
  });

  it('puts a systemd unit in place that starts the installed wirtd and lets guests outlive it', () => {
    const unit = readFileSync(at('units/wirtd.service'), 'utf8').split('\n');
    expect(unit).toContain(`ExecStart=${at('bin/wirtd')}`);
    for (const line of [
      'KillMode=process',
      'RuntimeDirectoryPreserve=yes',
      'NotifyAccess=all',
      'Delegate=yes',
    ]) {
      expect(unit).toContain(line);
    }
  });

  it('replaces what is there when it is run again', async () => {
    expect(await open('install')).toContain(`installed: ${at('bin/wirt')}`);
    expect(readdirSync(at('bin')).sort()).toEqual(['wirt', 'wirtd']);
    expect(installed('wirtd', '--version')).toMatch(/^wirtd /);
  });

  it('is taken back by make uninstall, which names what it keeps', async () => {
    expect(await open('uninstall')).toContain('kept: guests and images');
    expect(readdirSync(at('bin'))).toEqual([]);
    expect(existsSync(at('lib/wirt'))).toBe(false);
    expect(existsSync(at('units/wirtd.service'))).toBe(false);
  });
});
