import { describe, expect, it } from 'vitest';
import {
  anInstance,
  anOperation,
  doneOperation,
  problem,
  runWirt,
  type Script,
  startScriptedDaemon,
  startWirt,
} from '../scripted-daemon.ts';
import { anInstanceWithDisks, aRootVolume, aVolume } from '../scripted-records.ts';

const accepted: Script = () => ({ status: 202, json: anOperation });
const stopped = { ...anInstance, status: { ...anInstance.status, state: 'stopped', agent: false } };
const operationPath = `/v1/operations/${anOperation.id}`;
const event = {
  revision: 9,
  at: 'x',
  change: 'changed',
  kind: 'operation',
  id: anOperation.id,
  name: 'demo',
  project: 'default',
};
const key = /^[0-9a-f-]{36}$/;

describe('start, stop, restart and rm', () => {
  it.each([
    [['start', 'demo'], 'POST /v1/instances/demo/start', { paused: false }],
    [['start', 'demo', '--paused'], 'POST /v1/instances/demo/start', { paused: true }],
    [['stop', 'demo'], 'POST /v1/instances/demo/stop', { mode: 'graceful', graceSeconds: 30 }],
    [['stop', 'demo', '--force'], 'POST /v1/instances/demo/stop', { mode: 'force', graceSeconds: 30 }],
    [['stop', 'demo', '--acpi'], 'POST /v1/instances/demo/stop', { mode: 'acpi', graceSeconds: 30 }],
    [
      ['stop', 'demo', '--grace', '2m'],
      'POST /v1/instances/demo/stop',
      { mode: 'graceful', graceSeconds: 120 },
    ],
    [['restart', 'demo', '-f'], 'POST /v1/instances/demo/restart', { mode: 'force', graceSeconds: 30 }],
  ])('%j asks for just that, once, and waits for it', async (argv, line, body) => {
    await using daemon = await startScriptedDaemon({
      [line]: accepted,
      [`GET ${operationPath}`]: () => ({ json: doneOperation }),
      [`GET /v1/instances/${anInstance.id}`]: () => ({ json: anInstance }),
    });
    const { code, stdout, stderr } = await runWirt(argv, { daemon });
    expect([code, stdout, stderr]).toEqual([0, 'demo is running\n', '']);
    expect(daemon.asked[0]?.json).toEqual(body);
    expect(daemon.asked[0]?.headers['idempotency-key']).toMatch(key);
    expect(daemon.lines.filter((each) => each === line)).toHaveLength(1);
  });

  it('rm asks with and without force', async () => {
    await using daemon = await startScriptedDaemon({
      'GET /v1/instances/demo': () => ({ json: anInstance }),
      'DELETE /v1/instances/demo': accepted,
      [`GET ${operationPath}`]: () => ({ json: doneOperation }),
    });
    expect(await runWirt(['rm', 'demo'], { daemon })).toMatchObject({ code: 0, stdout: 'demo is removed\n' });
    expect(await runWirt(['rm', '-f', 'demo', '-o', 'json'], { daemon })).toMatchObject({ code: 0 });
    const asked = daemon.asked.filter(({ method }) => method === 'DELETE').map(({ query }) => query['force']);
    expect(asked).toEqual(['false', 'true']);
  });

  it('rm says which volumes went and which stay', async () => {
    const scripts = {
      'GET /v1/instances/demo': () => ({ json: anInstanceWithDisks }),
      'GET /v1/volumes': () => ({ json: { items: [aRootVolume, aVolume] } }),
      'DELETE /v1/instances/demo': accepted,
      [`GET ${operationPath}`]: () => ({ json: doneOperation }),
    };
    await using daemon = await startScriptedDaemon(scripts);
    const { stdout } = await runWirt(['rm', 'demo'], { daemon });
    expect(stdout).toBe('demo is removed, with its volume demo-root; data stays\n');
    expect(daemon.asked.find(({ path }) => path === '/v1/volumes')?.query['instance']).toBe(anInstance.id);
    await using left = await startScriptedDaemon({ 'DELETE /v1/instances/demo': accepted });
    await runWirt(['rm', 'demo', '--no-wait'], { daemon: left });
    expect(left.lines).toEqual(['DELETE /v1/instances/demo']);
  });

  it('does not wait when told so', async () => {
    await using daemon = await startScriptedDaemon({ 'POST /v1/instances/demo/stop': accepted });
    const { code, stdout } = await runWirt(['stop', 'demo', '--no-wait'], { daemon });
    expect([code, stdout]).toEqual([0, `demo: instance.start goes on as operation ${anOperation.id}\n`]);
    expect(daemon.lines).toEqual(['POST /v1/instances/demo/stop']);
  });

  it('waits by events, and asks again only after one', async () => {
    let operation: object = anOperation;
    await using daemon = await startScriptedDaemon({
      'POST /v1/instances/demo/stop': accepted,
      [`GET ${operationPath}`]: (_, response) => {
        const reply = { json: operation };
        // The second look is provoked by the event that the first one's answer lets out.
        response.on('finish', () => {
          operation = doneOperation;
          daemon.emit(event);
        });
        return reply;
      },
      [`GET /v1/instances/${anInstance.id}`]: () => ({ json: stopped }),
    });
    expect(await runWirt(['stop', 'demo'], { daemon })).toMatchObject({
      code: 0,
      stdout: 'demo is stopped\n',
    });
    expect(daemon.lines.filter((line) => line === `GET ${operationPath}`)).toHaveLength(2);
    expect(daemon.asked.find(({ path }) => path === '/v1/events')?.query).toEqual({
      kind: 'operation',
      id: anOperation.id,
    });
  });

  it('tells the error with which an operation ended', async () => {
    const error = problem(500, 'instance.start_failed', 'QEMU did not start demo.', {
      cause: 'bad cpu',
      hint: 'See logs.',
    }).json;
    await using daemon = await startScriptedDaemon({
      'POST /v1/instances/demo/start': accepted,
      [`GET ${operationPath}`]: () => ({ json: { ...anOperation, state: 'failed', error } }),
    });
    const { code, stderr } = await runWirt(['start', 'demo'], { daemon });
    expect(code).toBe(1);
    expect(stderr).toBe('wirt: QEMU did not start demo.\n  cause: bad cpu\n  hint: See logs.\n');
  });

  it('gives up after --timeout, says that it goes on, and exits with 124', async () => {
    await using daemon = await startScriptedDaemon({
      'POST /v1/instances/demo/start': accepted,
      [`GET ${operationPath}`]: () => ({ json: anOperation }),
    });
    const { code, stderr } = await runWirt(['start', 'demo', '--timeout', '0'], { daemon });
    expect(code).toBe(124);
    expect(stderr).toContain('has not ended within 0 s; it goes on');
    expect(stderr).toContain(`wirt operation show ${anOperation.id}`);
  });

  it('leaves at Ctrl-C, says how to look after it, and exits with 130', async () => {
    const looked = Promise.withResolvers<void>();
    await using daemon = await startScriptedDaemon({
      'POST /v1/instances/demo/stop': accepted,
      [`GET ${operationPath}`]: (_, response) => {
        response.on('finish', looked.resolve);
        return { json: anOperation };
      },
    });
    const running = startWirt(['stop', 'demo'], { daemon });
    await looked.promise;
    running.interrupt();
    const { code, stderr } = await running.done;
    expect(code).toBe(130);
    expect(stderr).toContain(`goes on: \`wirt operation show ${anOperation.id}\`.`);
  });

  it('waits on when the daemon is restarted in the middle', async () => {
    let operation: object = anOperation;
    await using daemon = await startScriptedDaemon({
      'POST /v1/instances/demo/stop': accepted,
      [`GET ${operationPath}`]: (_, response) => {
        response.on('finish', () => {
          operation = doneOperation;
          setImmediate(daemon.cut);
        });
        return { json: operation };
      },
      [`GET /v1/instances/${anInstance.id}`]: () => ({ json: stopped }),
    });
    const { code, stdout, stderr } = await runWirt(['stop', 'demo'], { daemon });
    expect([code, stdout]).toEqual([0, 'demo is stopped\n']);
    expect(stderr).toContain('wirtd is gone; waiting for it to come back');
  });
});

describe('--wait ready', () => {
  const scripts = (looks: readonly object[], after: () => void): Record<string, Script> => {
    const left = [...looks];
    return {
      'POST /v1/instances/demo/start': () => ({ status: 202, json: doneOperation }),
      [`GET /v1/instances/${anInstance.id}`]: (_, response) => {
        response.on('finish', after);
        return { json: left.length > 1 ? left.shift() : left[0] };
      },
    };
  };
  const { ready: _, ...notReady } = anInstance.status;
  const withoutAgent = { ...anInstance, status: { ...notReady, agent: false } };
  const booting = { ...anInstance, status: notReady };
  const cloudInit = { hostname: 'demo', sshKeys: [], password: false, userData: false, networkConfig: false };

  it('waits until the agent answers and the guest is done with its start', async () => {
    const emit = (): void => daemon.emit({ ...event, kind: 'instance', id: anInstance.id });
    const looks = [withoutAgent, withoutAgent, booting, anInstance];
    await using daemon = await startScriptedDaemon(scripts(looks, emit));
    const { code, stdout } = await runWirt(['start', 'demo', '--wait', 'ready'], { daemon });
    expect([code, stdout]).toEqual([0, 'demo is ready\n']);
    expect(daemon.lines.filter((line) => line.startsWith('GET /v1/instances/'))).toHaveLength(4);
  });

  it.each([
    [withoutAgent, 'its guest agent has not answered within 1 s', 'wirt logs demo'],
    [withoutAgent, 'its guest agent has not answered within 1 s', 'without qemu-guest-agent never answers'],
    [booting, 'it has not become ready within 1 s', 'wirt logs demo'],
    [
      { ...booting, spec: { ...booting.spec, cloudInit } },
      'cloud-init has not finished in it within 1 s',
      'cloud-init status --long',
    ],
  ])('gives up and says what it waited for', async (instance, reason, hint) => {
    await using daemon = await startScriptedDaemon(scripts([instance], () => undefined));
    const argv = ['start', 'demo', '--wait', 'ready', '--timeout', '1'];
    const { code, stderr } = await runWirt(argv, { daemon });
    expect(code).toBe(124);
    expect(stderr).toContain(reason);
    expect(stderr).toContain(hint);
  });

  it('says how the guest ended when it did', async () => {
    const exit = { at: 'x', reason: 'error', message: 'QEMU ended: no such machine' };
    const crashed = { ...stopped, status: { ...stopped.status, state: 'crashed', exit } };
    await using daemon = await startScriptedDaemon(scripts([withoutAgent, crashed], () => undefined));
    const { code, stderr } = await runWirt(['start', 'demo', '--wait', 'ready'], { daemon });
    expect(code).toBe(1);
    expect(stderr).toContain('demo ended while it was waited for.');
    expect(stderr).toContain('cause: QEMU ended: no such machine');
  });

  it('is refused for a paused guest, which never gets there', async () => {
    expect((await runWirt(['start', 'demo', '--wait', 'ready', '--paused'])).code).toBe(2);
  });
});

describe('several names', () => {
  it('are done side by side, each failure is told, and the exit code is theirs', async () => {
    const record =
      (name: string): Script =>
      () => ({ json: { ...anInstance, name } });
    await using daemon = await startScriptedDaemon({
      'POST /v1/instances/a/pause': record('a'),
      'POST /v1/instances/b/pause': () => problem(404, 'instance.not_found', 'There is no instance b.'),
      'POST /v1/instances/c/pause': record('c'),
    });
    expect(await runWirt(['pause', 'a', 'b', 'c'], { daemon })).toEqual({
      code: 3,
      stdout: 'a is paused\nc is paused\n',
      stderr: 'wirt: There is no instance b.\n',
    });
    const names = await runWirt(['pause', 'a', 'b', 'c', '-o', 'name'], { daemon });
    expect(names).toMatchObject({ code: 3, stdout: 'a\nc\n' });
  });

  it.each([
    ['reset', 'was reset'],
    ['pause', 'is paused'],
    ['resume', 'is running'],
  ])('%s asks for it and says what became of it', async (action, past) => {
    await using daemon = await startScriptedDaemon({
      [`POST /v1/instances/demo/${action}`]: () => ({ json: anInstance }),
    });
    expect(await runWirt([action, 'demo'], { daemon })).toEqual({
      code: 0,
      stdout: `demo ${past}\n`,
      stderr: '',
    });
  });
});
