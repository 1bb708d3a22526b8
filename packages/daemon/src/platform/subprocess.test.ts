import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { runProgram, runToSuccess, SubprocessError } from './subprocess.ts';

const timeoutMs = 8_000;

function sh(script: string, options: Partial<Parameters<typeof runProgram>[2]> = {}) {
  return runProgram('sh', ['-c', script], { timeoutMs, ...options });
}

async function failureOf(promise: Promise<unknown>): Promise<SubprocessError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(SubprocessError);
  // Asserted on the line above.
  return error as SubprocessError;
}

/** A zombie has ended: only its parent has not looked yet. */
function isRunning(pid: number): boolean {
  const stat = `/proc/${pid}/stat`;
  return existsSync(stat) && !/\) [ZX] /.test(readFileSync(stat, 'utf8'));
}

describe('runProgram', () => {
  it('gives exit code and both outputs', async () => {
    const result = await sh('echo out; echo err >&2; exit 3');
    expect(result).toMatchObject({
      exitCode: 3,
      signal: null,
      stdout: 'out\n',
      stderr: 'err\n',
      truncated: false,
    });
  });

  it('passes arguments as they are, without a shell', async () => {
    const odd = ['$(id)', 'a b', "'", '*', ''];
    const result = await runProgram('printf', ['%s|', ...odd], { timeoutMs });
    expect(result.stdout).toBe(`${odd.join('|')}|`);
  });

  it('writes standard input, sets environment and working directory', async () => {
    const result = await sh('cat; printf %s "$WORD"; pwd', {
      stdin: 'in,',
      env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', WORD: 'word,' },
      cwd: '/',
    });
    expect(result.stdout).toBe('in,word,/\n');
  });

  it('does not mind a program that never reads its input', async () => {
    const result = await sh('exit 0', { stdin: 'x'.repeat(1_000_000) });
    expect(result.exitCode).toBe(0);
  });

  it('keeps no more than the cap of an output, and lets the program finish', async () => {
    const result = await sh('yes | head -c 300000; echo done >&2', { maxStdoutBytes: 1_000 });
    expect(result.stdoutBytes.length).toBe(1_000);
    expect(result).toMatchObject({ exitCode: 0, truncated: true, stderr: 'done\n' });
  });

  it('gives lines as they come, beyond the cap too', async () => {
    const lines: string[] = [];
    await sh('seq 1 5; printf six >&2', {
      maxStdoutBytes: 2,
      onLine: (line, stream) => lines.push(`${stream} ${line}`),
    });
    expect(lines.filter((line) => line.startsWith('stdout'))).toEqual(
      [1, 2, 3, 4, 5].map((n) => `stdout ${n}`),
    );
    expect(lines).toContain('stderr six');
  });

  it('ends the program when the line callback throws, and throws that', async () => {
    const thrown = new Error('enough');
    const run = sh('echo line; exec sleep 60', {
      onLine: () => {
        throw thrown;
      },
    });
    await expect(run).rejects.toBe(thrown);
  });

  it('reports the signal that ended the program', async () => {
    expect(await sh('kill -9 $$')).toMatchObject({ exitCode: null, signal: 'SIGKILL' });
  });

  it('says that a program is missing', async () => {
    const error = await failureOf(runProgram('no-such-program-here', [], { timeoutMs }));
    expect(error).toMatchObject({ failure: 'not-started', isMissing: true, program: 'no-such-program-here' });
  });

  it('tells a program that may not be executed from a missing one', async () => {
    const error = await failureOf(runProgram('/etc/passwd', [], { timeoutMs }));
    expect(error).toMatchObject({ failure: 'not-started', isMissing: false });
  });

  it('ends the program at the deadline and keeps what it had said', async () => {
    const error = await failureOf(sh('echo begun; exec sleep 60', { timeoutMs: 200 }));
    expect(error).toMatchObject({ failure: 'timed-out', result: { stdout: 'begun\n', signal: 'SIGTERM' } });
  });

  it('kills with its whole group a program that ignores SIGTERM', async () => {
    const error = await failureOf(
      sh("trap '' TERM; sleep 60 & echo $!; while :; do wait; done", { timeoutMs: 200, killGraceMs: 100 }),
    );
    expect(error.failure).toBe('timed-out');
    const grandchild = Number(error.result?.stdout);
    expect(grandchild).toBeGreaterThan(1);
    await expect.poll(() => isRunning(grandchild)).toBe(false);
  });

  it('does not wait for ever for a background process that holds the output', async () => {
    const result = await sh('sleep 60 & echo $!', { killGraceMs: 100 });
    expect(result.exitCode).toBe(0);
    await expect.poll(() => isRunning(Number(result.stdout))).toBe(false);
  });

  it('stops on abort, with the reason as cause', async () => {
    const controller = new AbortController();
    const run = sh('echo ready; exec sleep 60', {
      signal: controller.signal,
      onLine: () => controller.abort('not needed'),
    });
    expect(await failureOf(run)).toMatchObject({ failure: 'aborted', cause: 'not needed' });
  });

  it('starts nothing when it is aborted already', async () => {
    const error = await failureOf(sh('exit 0', { signal: AbortSignal.abort() }));
    expect(error).toMatchObject({ failure: 'aborted', result: undefined });
  });
});

describe('runToSuccess', () => {
  it('throws with the last line of standard error', async () => {
    const run = runToSuccess('sh', ['-c', 'echo first >&2; echo last >&2; exit 2'], { timeoutMs });
    const error = await failureOf(run);
    expect(error.message).toBe('sh exited with 2: last');
    expect(error).toMatchObject({ failure: 'failed', result: { exitCode: 2 } });
  });
});
