import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const main = join(import.meta.dirname, 'main.ts');
/** Node 24 runs the sources as they are; the tests' own Node may be another. */
const node = process.execPath;

async function wirtd(...argv: string[]): Promise<{ status: number | null; out: string; err: string }> {
  const child = spawn(node, [main, ...argv], { stdio: ['ignore', 'pipe', 'pipe'], timeout: 9_000 });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk) => (out += String(chunk)));
  child.stderr.on('data', (chunk) => (err += String(chunk)));
  const status = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { status, out, err };
}

describe('wirtd', () => {
  it('explains itself with --help', async () => {
    const { status, out } = await wirtd('--help');
    expect(status).toBe(0);
    expect(out).toMatch(/^wirtd: the daemon of Wirt/);
  });

  it('tells its version', async () => {
    expect(await wirtd('--version')).toEqual({ status: 0, out: 'wirtd 0.1.0\n', err: '' });
  });

  it('stops at once with status 2 when an option cannot be used, and names it', async () => {
    const { status, err } = await wirtd('--log-levle', 'info');
    expect(status).toBe(2);
    expect(err).toContain('--log-levle: did you mean --log-level?');
    expect(err).toContain('hint: ');
  });

  it('serves, and ends as asked with status 0', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'wirt-main-'));
    try {
      const child = spawn(
        node,
        [main, '--state-dir', join(directory, 's'), '--run-dir', join(directory, 'r')],
        { stdio: ['ignore', 'ignore', 'pipe'], timeout: 9_000 },
      );
      let log = '';
      child.stderr.on('data', (chunk) => {
        log += String(chunk);
        // Once only: a second signal would end it there and then.
        if (!child.killed && log.includes('"daemon.ready"')) child.kill('SIGTERM');
      });
      const status = await new Promise((resolve) => child.once('close', resolve));
      expect(log).toContain('"daemon.stopped"');
      expect(status).toBe(0);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
