import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { serverSentEvents } from './event-stream.ts';

async function read(chunks: readonly Uint8Array[]): Promise<string[]> {
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk);
      controller.close();
    },
  });
  const events: string[] = [];
  for await (const event of serverSentEvents(body)) events.push(event);
  return events;
}

const bytes = (text: string) => new TextEncoder().encode(text);

/** Cuts bytes at these places, also in the middle of a character. */
function cut(whole: Uint8Array, places: readonly number[]): Uint8Array[] {
  const at = [0, ...places.map((place) => place % (whole.length + 1)).sort((a, b) => a - b), whole.length];
  return at.slice(1).map((end, index) => whole.slice(at[index], end));
}

describe('an event stream', () => {
  it('gives the same events however its bytes are cut into chunks', async () => {
    const data = fc.jsonValue().map((value) => JSON.stringify(value));
    const lineEnd = fc.constantFrom('\n', '\r\n');
    await fc.assert(
      fc.asyncProperty(fc.array(data), lineEnd, fc.array(fc.nat()), async (events, end, places) => {
        const text = events.map((each) => `id: 7${end}: quiet${end}data: ${each}${end}${end}`).join('');
        expect(await read(cut(bytes(text), places))).toEqual(events);
      }),
    );
  });

  it('survives arbitrary bytes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array()), async (chunks) => {
        for (const event of await read(chunks)) expect(typeof event).toBe('string');
      }),
    );
  });

  it.each<[string, string[]]>([
    ['data: a\ndata: b\n\n', ['a\nb']],
    ['data:a\n\n', ['a']],
    ['data:  a\n\n', [' a']],
    ['data\n\n', ['']],
    [': comment\n\n', []],
    ['id: 5\n\n', []],
    ['event: other\ndata: a\n\n', ['a']],
    ['data: not ended\n', []],
    ['', []],
  ])('reads %j as %j', async (text, events) => {
    expect(await read([bytes(text)])).toEqual(events);
  });

  it('is given up when an event is too long, in one line or in many', async () => {
    const line = bytes(`data: ${'x'.repeat(600_000)}\n`);
    await expect(read([line, line])).rejects.toThrow('1,000,000');
    await expect(read([bytes('x'.repeat(1_000_001))])).rejects.toThrow('1,000,000');
  });

  it('throws the server’s problem, also one that cannot be read', async () => {
    await expect(
      read([bytes('event: problem\ndata: {"code":"daemon.stopping","detail":"x"}\n\n')]),
    ).rejects.toMatchObject({
      code: 'daemon.stopping',
    });
    await expect(read([bytes('event: problem\ndata: {\n\n')])).rejects.toMatchObject({ code: 'internal' });
  });
});
