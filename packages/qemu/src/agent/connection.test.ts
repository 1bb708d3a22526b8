import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type PeerSocket, type ScriptedPeer, startScriptedPeer } from '../scripted-peer.ts';
import { agentInfo, agentInterfaces, agentOsInfo, agentPing, agentShutdown } from './commands.ts';
import { type AgentConnection, connectAgent } from './connection.ts';
import { AgentClosed } from './errors.ts';

let peer: ScriptedPeer;
let agent: AgentConnection;
let guest: PeerSocket;

beforeEach(async () => {
  peer = await startScriptedPeer();
  agent = await connectAgent({ path: peer.path });
  guest = await peer.accept();
});

afterEach(async () => {
  await agent.close();
  await peer[Symbol.asyncDispose]();
});

const code = (value: string): unknown => expect.objectContaining({ code: value });

/** Takes the request to synchronise and returns its id. */
async function syncId(): Promise<number> {
  const line = await guest.line();
  expect(line.startsWith('\u00ff')).toBe(true);
  const request = JSON.parse(line.slice(1));
  expect(request.execute).toBe('guest-sync-delimited');
  return request.arguments.id;
}

/** Answers it, as the agent does: sentinel first. */
async function answerSync(): Promise<void> {
  const id = await syncId();
  guest.write(Buffer.from(`\u00ff{"return": ${id}}\n`, 'latin1'));
}

/** Lets both ends of the socket, which are in this process, see what was written. */
async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}

describe('a guest agent', () => {
  test('is synchronised with before the first command, and not before the second', async () => {
    const first = agent.execute('guest-ping');
    await answerSync();
    expect(await guest.request()).toEqual({ execute: 'guest-ping', arguments: {} });
    guest.send({ return: {} });
    expect(await first).toEqual({});
    const second = agent.execute('guest-get-time');
    expect((await guest.request()).execute).toBe('guest-get-time');
    guest.send({ return: 5 });
    expect(await second).toBe(5);
  });

  test('may have stale bytes, errors and old synchronisations on the line: they are dropped', async () => {
    const first = agent.execute('guest-ping');
    const id = await syncId();
    guest.write(
      Buffer.from('{"return": {"stale": 1}}\n{"half\u00ff{"return": 1}\n{"x":\u00ff{"re', 'latin1'),
    );
    guest.write(Buffer.from(`\u00ff{"return": ${id}}\n{"return": "not mine"}\n`, 'latin1'));
    expect((await guest.request()).execute).toBe('guest-ping');
    guest.send({ return: { mine: 1 } });
    expect(await first).toEqual({ mine: 1 });
  });

  test('that answers another synchronisation than the last is not believed', async () => {
    const first = agent.execute('guest-ping', {}, { timeoutMs: 500 });
    const id = await syncId();
    guest.write(Buffer.from(`\u00ff{"return": ${id - 1}}\n`, 'latin1'));
    await turns();
    guest.send({ return: 'stale' });
    await turns();
    expect(guest.pendingLines()).toBe(0);
    guest.write(Buffer.from(`\u00ff{"return": ${id}}\n`, 'latin1'));
    expect((await guest.request()).execute).toBe('guest-ping');
    guest.send({ return: 'mine' });
    expect(await first).toBe('mine');
  });

  test('that synchronises after the deadline is not sent the command any more', async () => {
    const late = agent.execute('too-late', {}, { timeoutMs: 20 });
    const id = await syncId();
    await expect(late).rejects.toEqual(code('agent_timeout'));
    guest.write(Buffer.from(`\u00ff{"return": ${id}}\n`, 'latin1'));
    await turns();
    expect(guest.pendingLines()).toBe(0);
  });

  test('that floods before the sentinel is not held in memory and not believed', async () => {
    const first = agent.execute('guest-ping');
    const id = await syncId();
    for (let i = 0; i < 64; i++) guest.write(Buffer.alloc(1024 * 1024, 'x'));
    guest.write(Buffer.concat([Buffer.from([0xff]), Buffer.alloc(100_000, '{')]));
    guest.write(Buffer.from(`\n\u00ff{"return": ${id}}\n`, 'latin1'));
    expect((await guest.request()).execute).toBe('guest-ping');
    guest.send({ return: 1 });
    expect(await first).toBe(1);
  });

  test('has one command in flight; the others wait for their turn', async () => {
    const [first, second] = [agent.execute('a'), agent.execute('b')];
    await answerSync();
    expect((await guest.request()).execute).toBe('a');
    expect(guest.pendingLines()).toBe(0);
    guest.send({ return: 'A' });
    expect((await guest.request()).execute).toBe('b');
    guest.send({ return: 'B' });
    expect(await Promise.all([first, second])).toEqual(['A', 'B']);
  });

  test('that misses a deadline is synchronised with again, and its late answer is taken for no other', async () => {
    const first = agent.execute('first');
    await answerSync();
    await guest.request();
    guest.send({ return: 1 });
    await first;
    const late = agent.execute('slow', {}, { timeoutMs: 40 });
    await guest.request();
    await expect(late).rejects.toMatchObject({ code: 'agent_timeout', command: 'slow', timeoutMs: 40 });
    const next = agent.execute('quick');
    const id = await syncId();
    guest.write(Buffer.from(`{"return": "late"}\n\u00ff{"return": ${id}}\n`, 'latin1'));
    expect((await guest.request()).execute).toBe('quick');
    guest.send({ return: 'quick' });
    expect(await next).toBe('quick');
  });

  test('that is not there costs each command its own deadline, also while it waits for its turn', async () => {
    const [first, second] = [
      agent.execute('a', {}, { timeoutMs: 60 }),
      agent.execute('b', {}, { timeoutMs: 20 }),
    ];
    await expect(second).rejects.toEqual(code('agent_timeout'));
    await expect(first).rejects.toEqual(code('agent_timeout'));
  });

  test('is left by an abort, waiting or in flight, and the next command goes on', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const [first, second] = [agent.execute('a', {}, { signal }), agent.execute('b', {}, { signal })];
    const third = agent.execute('c');
    await answerSync();
    await guest.request();
    controller.abort(new Error('enough'));
    await expect(first).rejects.toThrow('enough');
    await expect(second).rejects.toThrow('enough');
    await answerSync();
    expect((await guest.request()).execute).toBe('c');
    guest.send({ return: 'C' });
    expect(await third).toBe('C');
  });

  test('fails a command in its own words and stays in order', async () => {
    const refused = agent.execute('guest-exec');
    await answerSync();
    await guest.request();
    guest.send({ error: { class: 'GenericError', desc: 'no such program' } });
    await expect(refused).rejects.toMatchObject({ code: 'agent_error', desc: 'no such program' });
    const next = agent.execute('guest-ping');
    expect((await guest.request()).execute).toBe('guest-ping');
    guest.send({ return: {} });
    await next;
  });

  test.each([
    ['garbage', 'agent_protocol', Buffer.from('\x00\x01\u00fe}{\n', 'latin1')],
    ['an array', 'agent_protocol', Buffer.from('[]\n')],
    ['neither return nor error', 'agent_protocol', Buffer.from('{"hello":1}\n')],
    ['an error without words', 'agent_protocol', Buffer.from('{"error":7}\n')],
    [
      'deep nesting',
      'agent_protocol',
      Buffer.from(`{"return":${'['.repeat(50_000)}${']'.repeat(50_000)}}\n`),
    ],
    ['a line too long', 'agent_too_large', Buffer.alloc(2 * 1024 * 1024, 'x')],
  ])('that answers %s fails the command, and is synchronised with again', async (_, expected, bytes) => {
    const failing = agent.execute('guest-ping');
    await answerSync();
    await guest.request();
    guest.write(bytes);
    await expect(failing).rejects.toEqual(code(expected));
    const next = agent.execute('guest-ping');
    await answerSync();
    await guest.request();
    guest.send({ return: 2 });
    expect(await next).toBe(2);
  });

  test('that talks without being asked is synchronised with again', async () => {
    const first = agent.execute('a');
    await answerSync();
    await guest.request();
    guest.send({ return: 1 }, { return: 'uninvited' });
    await first;
    const second = agent.execute('b');
    await answerSync();
    expect((await guest.request()).execute).toBe('b');
    guest.send({ return: 2 });
    expect(await second).toBe(2);
  });

  test('that goes away rejects what waits, and is told by closed', async () => {
    const [first, second] = [agent.execute('a'), agent.execute('b')];
    await syncId();
    guest.socket.destroy();
    await expect(first).rejects.toEqual(code('agent_closed'));
    await expect(second).rejects.toEqual(code('agent_closed'));
    expect(await agent.closed).toBeInstanceOf(AgentClosed);
    await expect(agent.execute('c')).rejects.toEqual(code('agent_closed'));
  });

  test('whose socket is not there is named', async () => {
    const connecting = connectAgent({ path: `${peer.path}-not` });
    await expect(connecting).rejects.toMatchObject({ code: 'agent_unreachable', cause: { code: 'ENOENT' } });
  });
});

describe('the commands of an agent', () => {
  async function answering<T>(call: Promise<T>, answer: unknown): Promise<T> {
    await answerSync();
    await guest.request();
    guest.send({ return: answer });
    return call;
  }

  test('give checked answers and drop what they do not know', async () => {
    const info = { version: '9', supported_commands: [{ name: 'x', enabled: true, more: 1 }], more: 2 };
    expect(await answering(agentInfo(agent), info)).toEqual({
      version: '9',
      commands: [{ name: 'x', enabled: true }],
    });
  });

  test.each([
    ['a text', 'x'],
    ['no version', { supported_commands: [] }],
    ['commands that are no list', { version: '1', supported_commands: {} }],
    ['a command without a name', { version: '1', supported_commands: [{ enabled: true }] }],
  ])('refuse %s for an answer', async (_, answer) => {
    await expect(answering(agentInfo(agent), answer)).rejects.toEqual(code('agent_protocol'));
  });

  test('refuse wrong members deep in an answer', async () => {
    const bad = [{ name: 'e', 'ip-addresses': [{ 'ip-address-type': 'ipx', 'ip-address': '1', prefix: 8 }] }];
    await expect(answering(agentInterfaces(agent), bad)).rejects.toThrow('address of an unknown family');
    const call = agentOsInfo(agent);
    await guest.request();
    guest.send({ return: { id: 7 } });
    await expect(call).rejects.toThrow('has no text id');
  });

  test('shutdown is accepted when only the synchronisation after it is answered', async () => {
    const call = agentShutdown(agent, 'powerdown');
    await answerSync();
    await guest.request();
    guest.send({ return: {} });
    expect(await guest.request()).toEqual({ execute: 'guest-shutdown', arguments: { mode: 'powerdown' } });
    const sync = await guest.request();
    guest.write(Buffer.from(`\u00ff{"return": ${sync.arguments.id}}\n`, 'latin1'));
    expect(await call).toBe('accepted');
    const ping = agentPing(agent);
    await answerSync();
    await guest.request();
    guest.send({ return: {} });
    await ping;
  });

  test('shutdown says what the agent said against it', async () => {
    const call = agentShutdown(agent);
    await answerSync();
    await guest.request();
    guest.send({ return: {} });
    await guest.request();
    const sync = await guest.request();
    guest.send({ error: { class: 'GenericError', desc: 'no shutdown here' } });
    guest.write(Buffer.from(`\u00ff{"return": ${sync.arguments.id}}\n`, 'latin1'));
    await expect(call).rejects.toThrow('no shutdown here');
  });

  test('shutdown is unanswered when the guest is gone at once', async () => {
    const call = agentShutdown(agent);
    await answerSync();
    await guest.request();
    guest.send({ return: {} });
    await guest.request();
    guest.socket.destroy();
    expect(await call).toBe('unanswered');
  });
});
