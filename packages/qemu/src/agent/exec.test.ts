import { expect, test } from 'vitest';
import { agentExec } from './exec.ts';
import { startScriptedAgent } from './scripted-agent.ts';

const base64 = (text: string): string => Buffer.from(text).toString('base64');

test('a program gets its arguments, environment and input, and gives its output and exit code', async () => {
  let polls = 0;
  await using guest = await startScriptedAgent((request) => {
    if (request.execute === 'guest-exec') return { pid: 77 };
    polls += 1;
    if (polls < 3) return { exited: false };
    return {
      exited: true,
      exitcode: 3,
      'out-data': base64('out'),
      'err-data': base64('err'),
      'out-truncated': true,
    };
  });
  const result = await agentExec(guest.agent, {
    argv: ['/bin/prog', 'a b', ''],
    env: { A: '1' },
    stdin: Buffer.from('in'),
    timeoutMs: 5000,
  });
  expect(guest.requests[0]).toEqual({
    execute: 'guest-exec',
    arguments: {
      path: '/bin/prog',
      arg: ['a b', ''],
      env: ['A=1'],
      'input-data': base64('in'),
      'capture-output': true,
    },
  });
  expect(guest.requests[1]).toEqual({ execute: 'guest-exec-status', arguments: { pid: 77 } });
  expect(result).toEqual({
    exitCode: 3,
    signal: undefined,
    stdout: Buffer.from('out'),
    stderr: Buffer.from('err'),
    truncated: true,
  });
});

test('a program that never ends frees its caller at the deadline', async () => {
  await using guest = await startScriptedAgent(({ execute }) =>
    execute === 'guest-exec' ? { pid: 1 } : { exited: false },
  );
  const running = agentExec(guest.agent, { argv: ['sleep'], timeoutMs: 60 });
  await expect(running).rejects.toMatchObject({ code: 'agent_timeout' });
});

test('an abort frees the caller with its own reason', async () => {
  const controller = new AbortController();
  await using guest = await startScriptedAgent(({ execute }) => {
    if (execute === 'guest-exec-status') setImmediate(() => controller.abort(new Error('enough')));
    return execute === 'guest-exec' ? { pid: 1 } : { exited: false };
  });
  const running = agentExec(guest.agent, { argv: ['sleep'], timeoutMs: 5000, signal: controller.signal });
  await expect(running).rejects.toThrow('enough');
});

test('a program that is not there fails in the words of the agent', async () => {
  await using guest = await startScriptedAgent(() => {
    throw new Error('No such file or directory');
  });
  const running = agentExec(guest.agent, { argv: ['nope'], timeoutMs: 1000 });
  await expect(running).rejects.toThrow('guest-exec: No such file or directory');
});

test.each([
  ['no pid', {}, {}, 'agent_protocol'],
  ['a pid that is no number', { pid: 'x' }, {}, 'agent_protocol'],
  ['no word of the end', { pid: 1 }, {}, 'agent_protocol'],
  [
    'output that is not base64',
    { pid: 1 },
    { exited: true, exitcode: 0, 'out-data': '***' },
    'agent_protocol',
  ],
  [
    'more output than allowed',
    { pid: 1 },
    { exited: true, 'out-data': base64('x'.repeat(200)) },
    'agent_too_large',
  ],
  [
    'far more than allowed',
    { pid: 1 },
    { exited: true, 'out-data': base64('x'.repeat(9999)) },
    'agent_too_large',
  ],
])('an agent that gives %s is refused', async (_, started, status, code) => {
  await using guest = await startScriptedAgent(({ execute }) =>
    execute === 'guest-exec' ? started : status,
  );
  const running = agentExec(guest.agent, { argv: ['x'], timeoutMs: 1000, maxOutputBytes: 100 });
  await expect(running).rejects.toMatchObject({ code });
});
