import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import type { WebSocket } from 'ws';
import { problem, runWirt, type ScriptedDaemon, startScriptedDaemon, startWirt } from '../scripted-daemon.ts';

const terminal = { columns: 100, rows: 30 };

/** The viewer that attaches next, and what it sends from then on. */
async function viewer(daemon: ScriptedDaemon) {
  const [socket] = (await once(daemon.consoles, 'connection')) as [WebSocket];
  const typed: string[] = [];
  const told: unknown[] = [];
  socket.on('message', (data: Buffer, isBinary) => {
    if (isBinary) typed.push(data.toString('latin1'));
    else told.push(JSON.parse(data.toString()));
  });
  const got = async (text: string): Promise<void> => {
    while (!typed.join('').includes(text)) await once(socket, 'message');
  };
  return { socket, typed, told, got };
}

describe('wirt console on a terminal', () => {
  it('is raw, tells the size, carries bytes both ways, and gives the terminal back at the detach key', async () => {
    await using daemon = await startScriptedDaemon({});
    const rawModes: boolean[] = [];
    const attached = viewer(daemon);
    const running = startWirt(['console', 'demo'], { daemon, terminal, rawModes });
    const { socket, typed, told, got } = await attached;
    await running.says('Attached to demo. Ctrl-] detaches.');
    socket.send(Buffer.from('login: \x1b[1m'));
    await running.says('login: ');
    running.stdin.write('ro\x03ot\r');
    await got('ro\x03ot\r');
    running.stdin.write('bye\x1dnot this');
    const { code, stdout, stderr } = await running.done;
    expect(code).toBe(0);
    expect(stdout).toContain('login: \x1b[1m');
    expect(stdout.endsWith('\x1b>')).toBe(true);
    expect(stderr).toContain('Detached from demo.');
    expect(rawModes).toEqual([true, false]);
    expect(told).toEqual([{ resize: { columns: 100, rows: 30 } }]);
    expect(typed.join('')).not.toContain('not this');
  });

  it('types the size into the guest only when asked, and takes another detach key', async () => {
    await using daemon = await startScriptedDaemon({});
    const attached = viewer(daemon);
    const running = startWirt(['console', 'demo', '--resize', '--detach-key', '^a'], { daemon, terminal });
    const { got } = await attached;
    await got('stty rows 30 cols 100\r');
    running.stdin.write('\x1d');
    await got('\x1d');
    running.stdin.write('\x01');
    expect((await running.done).code).toBe(0);
  });

  it('ends well when the guest ends, and says so', async () => {
    await using daemon = await startScriptedDaemon({});
    const attached = viewer(daemon);
    const rawModes: boolean[] = [];
    const running = startWirt(['console', 'demo'], { daemon, terminal, rawModes });
    const { socket } = await attached;
    socket.send(Buffer.from('last words'));
    socket.close(1000, 'demo powered off.');
    const { code, stdout, stderr } = await running.done;
    expect(code).toBe(0);
    expect(stdout).toContain('last words');
    expect(stderr).toContain('demo powered off.');
    expect(rawModes).toEqual([true, false]);
  });

  it('fails when the connection breaks, and still gives the terminal back', async () => {
    await using daemon = await startScriptedDaemon({});
    const attached = viewer(daemon);
    const rawModes: boolean[] = [];
    const running = startWirt(['console', 'demo'], { daemon, terminal, rawModes });
    (await attached).socket.terminate();
    const { code, stderr } = await running.done;
    expect(code).toBe(5);
    expect(stderr).toContain('The console of demo was cut off.');
    expect(rawModes).toEqual([true, false]);
  });
});

describe('wirt console from a pipe', () => {
  it('types what comes, prints what follows, and leaves when the guest has fallen quiet', async () => {
    await using daemon = await startScriptedDaemon({});
    const attached = viewer(daemon);
    const running = startWirt(['console', 'demo', '--settle', '0'], { daemon, input: 'uname\n\x1d' });
    const { socket, typed } = await attached;
    socket.send(Buffer.from('Linux\n'));
    const { code, stdout } = await running.done;
    expect(code).toBe(0);
    expect(stdout).not.toContain('\x1b');
    // From a pipe the detach key is a byte like any other.
    if (socket.readyState !== socket.CLOSED) await once(socket, 'close');
    expect(typed.join('')).toBe('uname\n\x1d');
  });

  it('leaves at --timeout when the guest never falls quiet', async () => {
    await using daemon = await startScriptedDaemon({});
    const attached = viewer(daemon);
    const running = startWirt(['console', 'demo', '--timeout', '0'], { daemon, input: '' });
    await attached;
    expect((await running.done).code).toBe(0);
  });

  it('tells a refusal as the daemon does', async () => {
    const refused = () =>
      problem(409, 'instance.state_conflict', 'Instance demo is stopped.', { hint: 'wirt start demo' });
    await using daemon = await startScriptedDaemon({ 'UPGRADE /v1/instances/demo/console': refused });
    const { code, stderr } = await runWirt(['console', 'demo'], { daemon, input: '' });
    expect(code).toBe(4);
    expect(stderr).toBe('wirt: Instance demo is stopped.\n  hint: wirt start demo\n');
  });

  it('tells when nobody listens', async () => {
    const { code, stderr } = await runWirt(['console', 'demo', '--socket', '/nowhere/s'], { input: '' });
    expect(code).toBe(5);
    expect(stderr).toContain('No wirtd listens on /nowhere/s.');
  });
});
