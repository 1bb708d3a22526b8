import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const loggerPath = fileURLToPath(new URL('./logger.ts', import.meta.url));

/** Runs `body` in a process of its own, with `log` and `WirtError`, and gives the lines of its stderr. */
async function logLines(body: string, level = 'debug'): Promise<Record<string, unknown>[]> {
  const script = `
    import { WirtError } from '@wirt/api';
    import { createLogger } from ${JSON.stringify(loggerPath)};
    const log = createLogger({ level: ${JSON.stringify(level)} });
    ${body}
  `;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: fileURLToPath(new URL('.', import.meta.url)),
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: 8_000,
  });
  const [output] = await Promise.all([text(child.stderr), once(child, 'exit')]);
  const lines = output.split('\n').filter((line) => line !== '');
  return lines.map((line): Record<string, unknown> => JSON.parse(line));
}

describe('the log', () => {
  it('writes one JSON object a line, with level, time, event and fields', async () => {
    const [line, ...rest] = await logLines(`log.info('instance.started', { id: 'i-1', tookMs: 3 });`);
    expect(rest).toEqual([]);
    expect(line).toEqual({
      level: 'info',
      time: expect.stringMatching(/^\d{4}-.*Z$/),
      event: 'instance.started',
      id: 'i-1',
      tookMs: 3,
    });
  });

  it('leaves out what is below its level', async () => {
    const lines = await logLines(`log.debug('a'); log.info('b'); log.warn('c'); log.error('d');`, 'warn');
    expect(lines.map((line) => line['event'])).toEqual(['c', 'd']);
  });

  it('loses no line when the process exits right away', async () => {
    const lines = await logLines(`for (let n = 0; n < 2_000; n += 1) log.info('n', { n }); process.exit(0);`);
    expect(lines.map((line) => line['n'])).toEqual(Array.from({ length: 2_000 }, (_, n) => n));
  });

  it('shows errors with code, hint and causes, and the stack of a defect only', async () => {
    const [known, defect] = await logLines(`
      const cause = new Error('no space', { cause: new TypeError('deeper') });
      log.error('a', { error: new WirtError('host.storage_full', 'Could not write.', { cause, hint: 'df -h' }) });
      log.error('b', { error: new RangeError('oops') });
    `);
    expect(known?.['error']).toMatchObject({
      code: 'host.storage_full',
      message: 'Could not write.',
      hint: 'df -h',
      cause: { message: 'no space', cause: { name: 'TypeError', message: 'deeper' } },
    });
    expect(known?.['error']).not.toHaveProperty('stack');
    expect(defect?.['error']).toMatchObject({ name: 'RangeError', stack: expect.stringContaining('oops') });
  });

  it('lets no field take the place of its own', async () => {
    const [line] = await logLines(`log.info('a', { event: 'x', level: 'y', time: 'z' });`);
    expect(line).toMatchObject({ event: 'a', level: 'info', event_: 'x', level_: 'y', time_: 'z' });
  });
});
