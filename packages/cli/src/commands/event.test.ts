import { describe, expect, it } from 'vitest';
import { problem, startScriptedDaemon, startWirt } from '../scripted-daemon.ts';

const event = (revision: number) => ({
  revision,
  at: '2026-11-22T12:00:00Z',
  change: 'changed',
  kind: 'instance',
  id: '01KA',
  name: 'demo',
  project: 'default',
  state: 'running',
  detail: `change \x1b[2J${revision}`,
});

describe('wirt events', () => {
  it('prints a line for each change, made safe, until Ctrl-C', async () => {
    await using daemon = await startScriptedDaemon({});
    const running = startWirt(['events', '--kind', 'instance', '--since', '4'], { daemon });
    await daemon.heard('GET /v1/events');
    daemon.emit(event(5));
    await running.says('change');
    running.interrupt();
    const { code, stdout } = await running.done;
    expect(code).toBe(0);
    expect(stdout).toBe('2026-11-22T12:00:00Z  instance   changed  demo  running  01KA  change \\x1b[2J5\n');
    expect(daemon.asked[0]?.query).toEqual({ kind: 'instance', since: '4' });
  });

  it('goes on behind the last revision after a lost connection, and leaves after --count', async () => {
    await using daemon = await startScriptedDaemon({});
    const running = startWirt(['events', '-o', 'json', '--count', '2'], { daemon });
    await daemon.heard('GET /v1/events');
    daemon.emit(event(5));
    await running.says('"revision":5');
    const again = daemon.heard('GET /v1/events', 2);
    daemon.cut();
    await again;
    daemon.emit(event(6));
    const { code, stdout, stderr } = await running.done;
    expect(code).toBe(0);
    expect(
      stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as object),
    ).toEqual([event(5), event(6)]);
    expect(stderr).toContain('wirtd is gone');
    expect(daemon.asked.map(({ query }) => query)).toEqual([{}, { since: '5' }]);
  });

  it('gives up when wirtd stays away for longer than --reconnect', async () => {
    const daemon = await startScriptedDaemon({});
    const running = startWirt(['events', '--reconnect', '0'], { daemon });
    await daemon.heard('GET /v1/events');
    await daemon[Symbol.asyncDispose]();
    expect((await running.done).code).toBe(5);
  });

  it('tells at once when events are no longer kept, and when nobody listens', async () => {
    const gone = () => problem(410, 'event.compacted', 'Events since 1 are no longer kept.');
    await using daemon = await startScriptedDaemon({ 'GET /v1/events': gone });
    const compacted = await startWirt(['events', '--since', '1'], { daemon }).done;
    expect(compacted).toMatchObject({ code: 1, stderr: 'wirt: Events since 1 are no longer kept.\n' });
    expect((await startWirt(['events', '--socket', '/nowhere/s']).done).code).toBe(5);
  });
});
