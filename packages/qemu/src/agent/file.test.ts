import { expect, test } from 'vitest';
import { type AgentFileOptions, agentReadFile, agentWriteFile } from './file.ts';
import { type AgentRequest, startScriptedAgent } from './scripted-agent.ts';

/** An agent with one file, that takes and gives at most `most` bytes at a time. */
function agentWithFile(
  content: Buffer,
  most = 1000,
): { answer: (request: AgentRequest) => unknown; file(): Buffer } {
  let file = content;
  let position = 0;
  const answer = ({ execute, arguments: args }: AgentRequest): unknown => {
    switch (execute) {
      case 'guest-file-open':
        if (args.mode === 'w') file = Buffer.alloc(0);
        return 1000;
      case 'guest-file-read': {
        const bytes = file.subarray(position, position + Math.min(args.count, most));
        position += bytes.length;
        return { count: bytes.length, 'buf-b64': bytes.toString('base64'), eof: position >= file.length };
      }
      case 'guest-file-write': {
        const bytes = Buffer.from(args['buf-b64'], 'base64').subarray(0, most);
        file = Buffer.concat([file, bytes]);
        return { count: bytes.length, eof: false };
      }
      default:
        return {};
    }
  };
  return { answer, file: () => file };
}

async function readAll(
  agent: Parameters<typeof agentReadFile>[0],
  options: AgentFileOptions,
): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(agentReadFile(agent, options)));
}

const commands = (requests: AgentRequest[]): string[] => requests.map((request) => request.execute);

test('a file is read piece by piece and closed', async () => {
  const content = Buffer.from('0123456789'.repeat(50));
  const { answer } = agentWithFile(content, 70);
  await using guest = await startScriptedAgent(answer);
  expect(await readAll(guest.agent, { path: '/f', chunkBytes: 64 })).toEqual(content);
  expect(guest.requests[0]?.arguments).toEqual({ path: '/f', mode: 'r' });
  expect(commands(guest.requests).at(-1)).toBe('guest-file-close');
});

test('a file that is over the limit is not read to its end, and closed', async () => {
  await using guest = await startScriptedAgent(agentWithFile(Buffer.alloc(500), 100).answer);
  await expect(readAll(guest.agent, { path: '/f', maxBytes: 250 })).rejects.toMatchObject({
    code: 'agent_too_large',
  });
  expect(commands(guest.requests)).toEqual([
    'guest-file-open',
    'guest-file-read',
    'guest-file-read',
    'guest-file-read',
    'guest-file-close',
  ]);
});

test('leaving the loop early closes the file', async () => {
  await using guest = await startScriptedAgent(agentWithFile(Buffer.alloc(500), 100).answer);
  for await (const piece of agentReadFile(guest.agent, { path: '/f' })) {
    expect(piece.length).toBe(100);
    break;
  }
  expect(commands(guest.requests).at(-1)).toBe('guest-file-close');
});

test.each([
  ['another count than bytes', { count: 5, 'buf-b64': 'AAAA', eof: false }],
  ['more bytes than asked for', { count: 300, 'buf-b64': Buffer.alloc(300).toString('base64'), eof: false }],
  ['nothing, for ever', { count: 0, 'buf-b64': '', eof: false }],
  ['no end mark', { count: 3, 'buf-b64': 'AAAA' }],
  ['no base64', { count: 3, 'buf-b64': '!!!!', eof: true }],
])('an agent that reads %s is refused', async (_, read) => {
  await using guest = await startScriptedAgent(({ execute }) =>
    execute === 'guest-file-open' ? 1 : execute === 'guest-file-read' ? read : {},
  );
  await expect(readAll(guest.agent, { path: '/f', chunkBytes: 256 })).rejects.toMatchObject({
    code: 'agent_protocol',
  });
  expect(commands(guest.requests).at(-1)).toBe('guest-file-close');
});

test('a file is written in pieces, also when the agent takes less than it is given', async () => {
  const { answer, file } = agentWithFile(Buffer.from('old'), 30);
  await using guest = await startScriptedAgent(answer);
  const content = [Buffer.from('a'.repeat(100)), Buffer.from('b'.repeat(3))];
  expect(await agentWriteFile(guest.agent, { path: '/f', content, chunkBytes: 64 })).toBe(103);
  expect(file().toString()).toBe('a'.repeat(100) + 'b'.repeat(3));
  expect(commands(guest.requests).slice(-2)).toEqual(['guest-file-flush', 'guest-file-close']);
});

test('content over the limit, a broken source, and an agent that lies leave the file closed', async () => {
  await using guest = await startScriptedAgent(agentWithFile(Buffer.alloc(0)).answer);
  const content = [Buffer.alloc(60), Buffer.alloc(60)];
  await expect(agentWriteFile(guest.agent, { path: '/f', content, maxBytes: 100 })).rejects.toMatchObject({
    code: 'agent_too_large',
  });
  expect(commands(guest.requests).at(-1)).toBe('guest-file-close');

  async function* broken(): AsyncGenerator<Uint8Array> {
    yield Buffer.alloc(1);
    throw new Error('source broke');
  }
  await expect(agentWriteFile(guest.agent, { path: '/f', content: broken() })).rejects.toThrow(
    'source broke',
  );
  expect(commands(guest.requests).at(-1)).toBe('guest-file-close');

  for (const count of [0, 61, -1, 1.5, '60']) {
    await using liar = await startScriptedAgent(({ execute }) =>
      execute === 'guest-file-open' ? 1 : execute === 'guest-file-write' ? { count, eof: false } : {},
    );
    const writing = agentWriteFile(liar.agent, { path: '/f', content: [Buffer.alloc(60)] });
    await expect(writing).rejects.toMatchObject({ code: 'agent_protocol' });
    expect(commands(liar.requests).at(-1)).toBe('guest-file-close');
  }
});

test('an error of closing is an error of writing', async () => {
  await using guest = await startScriptedAgent(({ execute }) => {
    if (execute === 'guest-file-close') throw new Error('disk full');
    return execute === 'guest-file-open' ? 1 : {};
  });
  await expect(agentWriteFile(guest.agent, { path: '/f', content: [] })).rejects.toThrow('disk full');
});

test('a file is also closed after an abort', async () => {
  const controller = new AbortController();
  await using guest = await startScriptedAgent(agentWithFile(Buffer.alloc(500), 100).answer);
  const reading = (async () => {
    for await (const _piece of agentReadFile(guest.agent, { path: '/f', signal: controller.signal })) {
      controller.abort(new Error('enough'));
    }
  })();
  await expect(reading).rejects.toThrow('enough');
  expect(commands(guest.requests).at(-1)).toBe('guest-file-close');
});
