import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import type { Io } from './io.ts';
import { readNewPassword } from './password.ts';

interface Seat {
  readonly io: Io;
  readonly stdin: PassThrough;
  readonly said: () => string;
  readonly rawModes: boolean[];
}

function seat(terminal: boolean): Seat {
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
  const rawModes: boolean[] = [];
  let said = '';
  for (const stream of [stdout, stderr])
    stream.on('data', (chunk: Buffer) => void (said += chunk.toString()));
  const setRawMode = (raw: boolean): void => void rawModes.push(raw);
  const io: Io = {
    stdin: Object.assign(stdin, terminal ? { isTTY: true, setRawMode } : {}),
    stdout,
    stderr: Object.assign(stderr, { isTTY: terminal }),
    env: {},
    uid: 1000,
    now: () => 0,
    onInterrupt: () => () => undefined,
    onExit: () => () => undefined,
  };
  return { io, stdin, said: () => said, rawModes };
}

/** Types at a terminal, in the chunks given. */
async function typing(...chunks: (string | Uint8Array)[]): Promise<Seat & { readonly outcome: unknown }> {
  const at = seat(true);
  for (const chunk of chunks) at.stdin.write(chunk);
  const outcome = await readNewPassword(at.io).catch((error: unknown) => error);
  return { ...at, outcome };
}
const piped = (input: string | Uint8Array): Promise<string> => {
  const { io, stdin } = seat(false);
  stdin.end(input);
  return readNewPassword(io);
};

describe('at a terminal, a new password', () => {
  it('is asked for twice and not shown, and the terminal is given back', async () => {
    const { outcome, said, rawModes } = await typing('secret\r', 'secret\r');
    expect(outcome).toBe('secret');
    expect(said()).toBe('Password: \r\nThe same again: \r\n');
    expect(rawModes).toEqual([true, false]);
  });

  it('that is typed key by key, in bytes, or all ahead is the same', async () => {
    const bytes = Buffer.from('gä🦆 x\rgä🦆 x\r');
    expect((await typing(...Array.from(bytes, (byte) => Uint8Array.of(byte)))).outcome).toBe('gä🦆 x');
    expect((await typing(bytes)).outcome).toBe('gä🦆 x');
  });

  it.each([
    ['abc\x7f\x7fx', 'ax', 'backspace'],
    ['🦆\x7fab\b', 'a', 'backspace after a wide letter'],
    ['\x7fa', 'a', 'backspace at the beginning'],
    ['wrong\x15right', 'right', 'Ctrl-U'],
    ['a\x1b[D\x1b[1;5C\x1bOPb\x1b[3~c', 'abc', 'arrows and function keys'],
    ['a\x04b', 'ab', 'Ctrl-D in the middle'],
  ])('%j becomes %j: %s', async (keys, password) => {
    expect((await typing(`${keys}\r${password}\n`)).outcome).toBe(password);
  });

  it('is asked for again when the two differ, three times at most', async () => {
    const { outcome, said } = await typing('one\rtwo\r', 'one\rone\r');
    expect(outcome).toBe('one');
    expect(said()).toContain('They differ.');
    const never = await typing('one\rtwo\r'.repeat(3));
    expect(never.outcome).toMatchObject({
      code: 'request.invalid',
      message: 'No password was typed twice alike.',
    });
    expect(never.rawModes).toEqual([true, false]);
  });

  it('is not waited for after Ctrl-C, Ctrl-D, or when the terminal goes away', async () => {
    const left = await typing('sec\x03');
    expect(left.outcome).toMatchObject({ name: 'Interrupted' });
    expect(left.rawModes).toEqual([true, false]);
    expect((await typing('\x04')).outcome).toMatchObject({ code: 'request.invalid' });
    const { io, stdin } = seat(true);
    const reading = readNewPassword(io);
    stdin.end('half');
    await expect(reading).rejects.toMatchObject({ message: 'No password was typed.' });
  });

  it('leaves no ear on the input', async () => {
    const { stdin } = await typing('a\ra\r');
    expect(['data', 'end', 'error'].map((name) => stdin.listenerCount(name))).toEqual([0, 0, 0]);
    expect(stdin.isPaused()).toBe(true);
  });

  it('that is empty is refused', async () => {
    expect((await typing('\r\r')).outcome).toMatchObject({ message: 'The password is empty.' });
  });
});

describe('from a pipe, a new password', () => {
  it.each([
    ['secret\n', 'secret'],
    ['secret', 'secret'],
    ['secret\r\nmore', 'secret'],
    [' spaces stay \n', ' spaces stay '],
  ])('is the first line: %j', async (input, password) => {
    expect(await piped(input)).toBe(password);
  });

  it('leaves the lines after it for others', async () => {
    const { io, stdin } = seat(false);
    stdin.end('secret\nfor the console\n');
    expect(await readNewPassword(io)).toBe('secret');
    const heard = once(stdin, 'data');
    stdin.resume();
    const [rest] = (await heard) as [Buffer];
    expect(rest.toString()).toBe('for the console\n');
  });

  it('that comes slowly is waited for to its end', async () => {
    const { io, stdin } = seat(false);
    const reading = readNewPassword(io);
    stdin.write('sec');
    await new Promise(setImmediate);
    stdin.write('ret\n');
    expect(await reading).toBe('secret');
  });

  it.each([
    ['empty', '', 'empty'],
    ['an empty line', '\n', 'empty'],
    ['512 bytes', 'x'.repeat(512), 'longer than 511'],
    ['a megabyte', 'x'.repeat(1_000_000), 'longer than 511'],
    ['NUL', 'a\0b', 'cannot be typed'],
    ['a tab', 'a\tb', 'cannot be typed'],
    ['Latin-1', Uint8Array.of(0x61, 0xe4), 'cannot be typed'],
  ])('is refused: %s', async (_name, input, why) => {
    await expect(piped(input)).rejects.toMatchObject({
      code: 'request.invalid',
      message: expect.stringContaining(why),
    });
  });

  it('of the greatest length is taken', async () => {
    expect(await piped('x'.repeat(511))).toHaveLength(511);
  });
});
