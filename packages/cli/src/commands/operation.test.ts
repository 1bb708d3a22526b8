import { describe, expect, it } from 'vitest';
import { anOperation, problem, runWirt, startScriptedDaemon } from '../scripted-daemon.ts';

const path = `/v1/operations/${anOperation.id}`;

describe('wirt operation', () => {
  it('ls filters, and show tells progress and error', async () => {
    const error = problem(500, 'image.build_failed', 'It broke.', { cause: 'no \x1b space' }).json;
    await using daemon = await startScriptedDaemon({
      'GET /v1/operations': () => ({ json: { items: [anOperation] } }),
      [`GET ${path}`]: () => ({
        json: {
          ...anOperation,
          state: 'failed',
          progress: { done: 1024, total: 2048, unit: 'bytes' },
          error,
        },
      }),
    });
    const listed = await runWirt(['operation', 'ls', '--state', 'running', '--target', 'demo'], { daemon });
    expect(listed.stdout).toContain(`${anOperation.id}  instance.start  demo`);
    expect(daemon.asked[0]?.query).toEqual({ limit: '100', state: 'running', target: 'demo' });
    const { stdout } = await runWirt(['operation', 'show', anOperation.id], { daemon });
    expect(stdout).toMatch(/Progress +1\.0 KiB of 2\.0 KiB/);
    expect(stdout).toContain('no \\x1b space');
  });

  it('show --wait follows it to its end, and fails as it does', async () => {
    const error = problem(500, 'volume.failed', 'It broke.').json;
    for (const [ended, exit, told] of [
      [{ ...anOperation, state: 'done' }, 0, /State +done/],
      [{ ...anOperation, state: 'failed', error }, 1, /^wirt: It broke\./],
    ] as const) {
      let operation: object = anOperation;
      await using daemon = await startScriptedDaemon({
        [`GET ${path}`]: (_, response) => {
          const reply = { json: operation };
          response.on('finish', () => {
            operation = ended;
            daemon.emit({ revision: 9, kind: 'operation', id: anOperation.id });
          });
          return reply;
        },
      });
      const { code, stdout, stderr } = await runWirt(['operation', 'show', anOperation.id, '--wait'], {
        daemon,
      });
      expect(code).toBe(exit);
      expect(stdout + stderr).toMatch(told);
    }
  });

  it('cancel tells what is cancelled and what is not', async () => {
    await using daemon = await startScriptedDaemon({
      [`POST ${path}/cancel`]: () => ({ status: 202, json: anOperation }),
      'POST /v1/operations/x/cancel': () => problem(404, 'operation.not_found', 'There is no operation x.'),
    });
    const { code, stdout, stderr } = await runWirt(['operation', 'cancel', anOperation.id, 'x'], { daemon });
    expect(code).toBe(3);
    expect(stdout).toBe(`instance.start of demo (${anOperation.id}) is being cancelled\n`);
    expect(stderr).toContain('There is no operation x.');
  });
});
