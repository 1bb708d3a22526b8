import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type AgentLink, createAgentLink } from './agent.ts';
import { silentLogger } from './silent-logger.fixture.ts';

const never = new AbortController().signal;

interface Request {
  readonly execute: string;
  readonly arguments?: Record<string, unknown>;
}

let directory: string;
let server: Server;
let agent: AgentLink;
/** What the guest's agent answers; undefined is silence. */
let answer: (request: Request) => unknown;
let told: boolean[];
let wake: () => void;
const sockets = new Set<Socket>();

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'wirt-agent-'));
  const path = join(directory, 'agent.sock');
  server = createServer(serve);
  await new Promise<void>((resolve) => server.listen(path, resolve));
  answer = () => ({ return: {} });
  told = [];
  wake = () => {};
  const onAnswers = (answers: boolean): void => {
    told.push(answers);
    wake();
  };
  agent = createAgentLink({ id: 'demo', path, logger: silentLogger, onAnswers });
});
afterEach(async () => {
  agent.detach();
  for (const socket of sockets) socket.destroy();
  server.close();
  await rm(directory, { recursive: true });
});

function serve(socket: Socket): void {
  sockets.add(socket);
  let rest = '';
  socket.on('data', (data) => {
    const lines = (rest + data.toString('latin1')).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      // What the test's own client sent.
      const request = JSON.parse(line.replaceAll('\u00ff', '')) as Request;
      if (request.execute === 'guest-sync-delimited') {
        socket.write(
          Buffer.from(`\u00ff${JSON.stringify({ return: request.arguments?.['id'] })}\n`, 'latin1'),
        );
        continue;
      }
      const value = answer(request);
      if (value !== undefined) socket.write(`${JSON.stringify(value)}\n`);
    }
  });
}

const untilTold = (): Promise<void> =>
  new Promise((resolve) => {
    wake = resolve;
  });

describe('the agent of a guest', () => {
  it('answers once the guest holds its port open and a ping comes back', async () => {
    agent.portChanged(true);
    await untilTold();
    expect(agent.answers).toBe(true);
    agent.portChanged(false);
    expect(told).toEqual([true, false]);
  });

  it('is asked again until it answers', async () => {
    let pings = 0;
    answer = () => {
      pings += 1;
      return pings < 3 ? { error: { class: 'GenericError', desc: 'not yet' } } : { return: {} };
    };
    agent.portChanged(true);
    await untilTold();
    expect(pings).toBe(3);
  });

  it('is not available while the guest has its port closed', async () => {
    await expect(agent.exec({ argv: ['true'], timeoutSeconds: 1 }, never)).rejects.toMatchObject({
      code: 'guest.agent_unavailable',
    });
  });

  it('runs a program with its input and environment, and gives back what it wrote', async () => {
    const seen: Request[] = [];
    answer = (request) => {
      seen.push(request);
      if (request.execute === 'guest-exec') return { return: { pid: 7 } };
      if (request.execute !== 'guest-exec-status') return { return: {} };
      return { return: { exited: true, exitcode: 3, 'out-data': 'b3V0', 'err-data': 'ZXJy' } };
    };
    agent.portChanged(true);
    const env = ['A=b=c'];
    const result = await agent.exec({ argv: ['cat', '-'], env, stdin: 'aW4=', timeoutSeconds: 5 }, never);
    expect(result).toEqual({ exitCode: 3, stdout: 'b3V0', stderr: 'ZXJy', truncated: false });
    expect(seen.find(({ execute }) => execute === 'guest-exec')?.arguments).toMatchObject({
      path: 'cat',
      arg: ['-'],
      env: ['A=b=c'],
      'input-data': 'aW4=',
    });
  });

  it('that refuses is quoted', async () => {
    agent.portChanged(true);
    answer = () => ({ error: { class: 'GenericError', desc: 'no such file' } });
    await expect(agent.exec({ argv: ['x'], timeoutSeconds: 5 }, never)).rejects.toMatchObject({
      code: 'guest.command_failed',
      cause: { message: expect.stringContaining('no such file') },
    });
  });

  it('that says nothing runs into the deadline', async () => {
    agent.portChanged(true);
    answer = () => undefined;
    await expect(agent.exec({ argv: ['x'], timeoutSeconds: 1 }, never)).rejects.toMatchObject({
      code: 'guest.agent_timeout',
    });
  });

  it('that sends too much is cut off', async () => {
    agent.portChanged(true);
    answer = ({ execute }) =>
      execute === 'guest-file-open'
        ? { return: 1 }
        : { return: { count: 1, eof: false, 'buf-b64': 'x'.repeat(3_000_000) } };
    await expect(Array.fromAsync(agent.readFile('/x', never))).rejects.toMatchObject({
      code: 'guest.output_too_large',
    });
  });

  it('passes on why the work was given up', async () => {
    agent.portChanged(true);
    answer = () => undefined;
    const controller = new AbortController();
    const work = agent.exec({ argv: ['x'], timeoutSeconds: 60 }, controller.signal);
    controller.abort(new Error('client is gone'));
    await expect(work).rejects.toThrow('client is gone');
  });

  it('freezes the file systems and thaws them, and says how many each time', async () => {
    const seen: string[] = [];
    answer = ({ execute }) => {
      seen.push(execute);
      return { return: execute.startsWith('guest-fsfreeze') ? (execute.endsWith('thaw') ? 1 : 2) : {} };
    };
    agent.portChanged(true);
    expect(await agent.freeze(never)).toBe(2);
    expect(await agent.thaw(never)).toBe(1);
    expect(seen).toEqual(expect.arrayContaining(['guest-fsfreeze-freeze', 'guest-fsfreeze-thaw']));
  });

  it('thaws what it may have frozen when nobody waits for it any more', async () => {
    const thawed = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    answer = ({ execute }) => {
      if (execute === 'guest-fsfreeze-thaw') thawed.resolve();
      if (execute !== 'guest-fsfreeze-freeze')
        return { return: execute.startsWith('guest-fsfreeze') ? 1 : {} };
      asked.resolve();
      return undefined;
    };
    agent.portChanged(true);
    const controller = new AbortController();
    const work = agent.freeze(controller.signal);
    await asked.promise;
    controller.abort(new Error('too long'));
    await expect(work).rejects.toThrow('too long');
    await thawed.promise;
  });

  it('that cannot freeze is quoted', async () => {
    agent.portChanged(true);
    answer = () => ({ error: { class: 'CommandNotFound', desc: 'has been disabled' } });
    await expect(agent.freeze(never)).rejects.toMatchObject({ code: 'guest.command_failed' });
  });

  it('tells the addresses, and one that tells nonsense is no agent', async () => {
    const eth0 = { 'ip-address-type': 'ipv4', 'ip-address': '10.0.2.15', prefix: 24 };
    let interfaces: unknown = [{ name: 'eth0', 'ip-addresses': [eth0] }];
    answer = ({ execute }) => ({ return: execute === 'guest-network-get-interfaces' ? interfaces : {} });
    agent.portChanged(true);
    expect(await agent.addresses(never)).toEqual(['10.0.2.15']);
    interfaces = [{ name: 7 }];
    await expect(agent.addresses(never)).rejects.toMatchObject({ code: 'guest.agent_unavailable' });
  });
});
