// The serial console over WebSocket, the logs, and files through the agent, with a guest that boots for real.
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { startDaemon, type TestDaemon } from './harness/daemon.ts';
import { wirt } from './harness/wirt.ts';

let daemon: TestDaemon;

beforeAll(async () => {
  daemon = await startDaemon();
  await daemon.create('web', { spec: { memoryMib: 128 } });
  await daemon.client.call('POST /v1/instances/{instance}/start', {
    params: { instance: 'web' },
    body: {},
    query: { wait: 'ready', waitSeconds: 60 },
  });
});

afterAll(() => daemon[Symbol.asyncDispose]());

interface Viewer {
  readonly socket: WebSocket;
  /** Resolves when the text seen so far contains `wanted`. */
  sees(wanted: string | RegExp): Promise<string>;
}

async function view(): Promise<Viewer> {
  const socket = new WebSocket(`ws+unix:${daemon.socket}:/v1/instances/web/console`);
  let text = '';
  const looks = new Set<() => void>();
  socket.on('message', (data: Buffer) => {
    text += data.toString('latin1');
    for (const look of looks) look();
  });
  await new Promise((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', reject);
  });
  return {
    socket,
    sees: (wanted) =>
      new Promise((resolve, reject) => {
        const end = AbortSignal.timeout(15_000);
        const look = (): void => {
          if (typeof wanted === 'string' ? !text.includes(wanted) : !wanted.test(text)) return;
          looks.delete(look);
          resolve(text);
        };
        end.addEventListener('abort', () =>
          reject(new Error(`the console never showed ${wanted}: ${text.slice(-500)}`)),
        );
        looks.add(look);
        look();
      }),
  };
}

/** Until the log has it. */
async function logged(text: string): Promise<void> {
  const log = async () => (await wirt(daemon.socket, ['logs', 'web'])).stdout;
  await expect.poll(log, { timeout: 10_000 }).toContain(text);
}

describe('the console', () => {
  it('shows what was written before one looked, takes input, and several viewers see the same', async () => {
    const first = await view();
    const second = await view();
    first.socket.send(Buffer.from('echo $((6*7))-answer\n'));
    await first.sees('42-answer');
    await second.sees('42-answer');
    const late = await view();
    await late.sees('42-answer');
    for (const { socket } of [first, second, late]) socket.close();
  });

  it('takes a window size, and refuses a text frame that is none', async () => {
    const viewer = await view();
    viewer.socket.send(JSON.stringify({ resize: { columns: 100, rows: 30 } }));
    viewer.socket.send(Buffer.from('echo still-$((1+1))\n'));
    await viewer.sees('still-2');
    const closed = new Promise<number>((resolve) => viewer.socket.once('close', resolve));
    viewer.socket.send('{"resize":{"columns":"wide"}}');
    expect(await closed).toBeGreaterThanOrEqual(1002);
  });

  it('is replayed after a restart of wirtd', async () => {
    const before = await view();
    before.socket.send(Buffer.from('echo before-$((40+2))\n'));
    await before.sees('before-42');
    before.socket.close();
    await logged('before-42'); // Who looks is told before the disk is.
    await daemon.kill();
    await daemon.start();
    const after = await view();
    await after.sees('before-42');
    after.socket.send(Buffer.from('echo after-$((40+2))\n'));
    await after.sees('after-42');
    after.socket.close();
  });

  it('is refused for an instance that does not run, with the reason', async () => {
    await daemon.create('off');
    const answer = await daemon.fetch('http://wirt/v1/instances/off/console', {
      headers: {
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': btoa('0123456789abcdef'),
      },
    });
    expect(await answer.json()).toMatchObject({ code: 'instance.state_conflict' });
  });
});

describe('the logs', () => {
  it('hold what the guest wrote to its console', async () => {
    const viewer = await view();
    viewer.socket.send(Buffer.from('echo log-$((2*21))\n'));
    await viewer.sees('log-42');
    viewer.socket.close();
    await logged('log-42');
  });
});

describe('files', () => {
  it('go into the guest and come back unchanged, whatever bytes they have', async () => {
    const bytes = randomBytes(300_000);
    const there = join(daemon.directory, 'there');
    const back = join(daemon.directory, 'back');
    await writeFile(there, bytes);
    expect(await wirt(daemon.socket, ['cp', there, 'web:/tmp/file'])).toMatchObject({ exitCode: 0 });
    expect(await wirt(daemon.socket, ['cp', 'web:/tmp/file', back])).toMatchObject({ exitCode: 0 });
    expect(Buffer.compare(await readFile(back), bytes)).toBe(0);
  });

  it('that do not exist are refused by the guest’s own word', async () => {
    const { exitCode, stderr } = await wirt(daemon.socket, ['cp', 'web:/tmp/nothing', '-']);
    expect(exitCode).not.toBe(0);
    expect(stderr).toContain('/tmp/nothing');
  });
});

describe('exec', () => {
  it('passes arguments as they are, input, both outputs and the exit status', async () => {
    const script = 'cat; printf "%s|" "$@"; echo oops >&2; exit 3';
    const result = await wirt(
      daemon.socket,
      ['exec', '-i', 'web', '--', 'sh', '-c', script, 'sh', 'a b', '$HOME', "it's"],
      'in:',
    );
    expect(result).toEqual({ exitCode: 3, stdout: "in:a b|$HOME|it's|", stderr: 'oops\n' });
  });

  it('fails with a hint when no agent answers', async () => {
    await daemon.create('deaf', { start: true, startPaused: true });
    await daemon.client.call('POST /v1/instances/{instance}/resume', { params: { instance: 'deaf' } });
    const { exitCode, stderr } = await wirt(daemon.socket, ['exec', 'deaf', '--', 'true']);
    expect(exitCode).not.toBe(0);
    expect(stderr).toMatch(/hint: /);
  });
});
