import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createNotifier } from './notify.ts';

let directory: string;
const events: string[] = [];
const logger = { warn: (event: string) => void events.push(event) };

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'wirt-notify-'));
  events.length = 0;
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

/** In place of systemd's program, which may not be here: writes down its socket and arguments, a line a call. */
async function recordCalls(): Promise<() => Promise<string[]>> {
  const program = join(directory, 'systemd-notify');
  const record = join(directory, 'calls');
  await writeFile(program, `#!/bin/sh\necho "$NOTIFY_SOCKET $*" >> '${record}'\n`);
  await chmod(program, 0o755);
  return async () => (await readFile(record, 'utf8').catch(() => '')).split('\n').filter(Boolean);
}

describe('telling systemd', () => {
  it('happens over its program, as the daemon, with the text as one argument', async () => {
    const calls = await recordCalls();
    const notifier = createNotifier({ env: { NOTIFY_SOCKET: '/run/n', PATH: directory }, logger });
    await notifier.ready('3 guests; $(reboot)');
    await notifier.stopping();
    expect(await calls()).toEqual([
      `/run/n --pid=${process.pid} --ready --status=3 guests; $(reboot)`,
      `/run/n --pid=${process.pid} STOPPING=1`,
    ]);
    expect(events).toEqual([]);
  });

  it('does not happen when nobody listens', async () => {
    const calls = await recordCalls();
    await createNotifier({ env: { PATH: directory }, logger }).ready('x');
    expect(await calls()).toEqual([]);
  });

  it('harms nothing when the program is missing', async () => {
    await createNotifier({ env: { NOTIFY_SOCKET: '/run/n', PATH: directory }, logger }).ready('x');
    expect(events).toEqual(['daemon.notify_failed']);
  });
});
