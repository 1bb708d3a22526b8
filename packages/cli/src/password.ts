/**
 * Reads a new password: twice and unseen at a terminal, one line from a pipe. Never from an argument, which everybody on the
 * machine could read.
 */
import { StringDecoder } from 'node:string_decoder';
import { WirtError } from '@wirt/api/errors';
import { Interrupted } from './exit-code.ts';
import { type Input, type Io, write } from './io.ts';
import { rawTerminal } from './terminal.ts';

/** What crypt(3) takes, in bytes. */
const maxPasswordBytes = 511;
const maxAttempts = 3;

/** Throws `request.invalid` when none, or none that can be used, was given, and `Interrupted` on Ctrl-C. */
export async function readNewPassword(io: Io): Promise<string> {
  const { stdin } = io;
  if (stdin.isTTY !== true) return checked(await readLine(stdin));
  using _raw = rawTerminal(io);
  using typed = typedLines(stdin);
  for (let attempt = 1; attempt <= maxAttempts; attempt += 1) {
    const first = await ask(io, typed, 'Password: ');
    const again = await ask(io, typed, 'The same again: ');
    if (first === again) return checked(first);
    await write(io.stderr, 'They differ.\r\n');
  }
  throw refused('No password was typed twice alike.');
}

async function ask(io: Io, typed: TypedLines, prompt: string): Promise<string> {
  await write(io.stderr, prompt);
  try {
    return await typed.next();
  } finally {
    await write(io.stderr, '\r\n');
  }
}

function checked(password: string): string {
  if (password === '') throw refused('The password is empty.');
  if (Buffer.byteLength(password) > maxPasswordBytes)
    throw refused(`The password is longer than ${maxPasswordBytes} bytes, and no login takes so many.`);
  // U+FFFD: the bytes were not UTF-8, and what a login will send is not known.
  if (/[\p{Cc}\uFFFD]/u.test(password))
    throw refused('The password has a character that cannot be typed at a login.');
  return password;
}

/** The first line. What comes after it stays in the stream for others. */
function readLine(stdin: Input): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  let seen = Buffer.alloc(0);
  const finish = (): void => {
    stdin.off('data', onData).off('end', finish).off('error', finish);
    stdin.pause();
    const end = seen.indexOf(0x0a);
    if (end >= 0 && end + 1 < seen.length) stdin.unshift(seen.subarray(end + 1));
    const line = end < 0 ? seen : seen.subarray(0, end);
    resolve(line.toString('utf8').replace(/\r$/, ''));
  };
  const onData = (chunk: Uint8Array): void => {
    seen = Buffer.concat([seen, chunk]);
    if (seen.includes(0x0a) || seen.length > maxPasswordBytes + 2) finish();
  };
  stdin.on('data', onData).on('end', finish).on('error', finish);
  return promise;
}

interface TypedLines extends Disposable {
  next(): Promise<string>;
}

/** Lines typed in raw mode, with the keys that a terminal itself knows. What was typed ahead is not lost. */
function typedLines(stdin: Input): TypedLines {
  const decoder = new StringDecoder('utf8');
  let waiting: PromiseWithResolvers<string> | undefined;
  let ahead = '';
  let line: string[] = [];
  let inEscape = false;
  let gone = false;

  const settle = (how: (one: PromiseWithResolvers<string>) => void): void => {
    const one = waiting;
    waiting = undefined;
    if (one !== undefined) how(one);
  };
  const press = (character: string): void => {
    if (inEscape) {
      // ECMA-48: parameters are below @, and [ comes first.
      inEscape = character === '[' || character === 'O' || character < '@';
      return;
    }
    switch (character) {
      case '\r':
      case '\n':
        return settle(({ resolve }) => resolve(line.join('')));
      case '\x03':
        return settle(({ reject }) => reject(new Interrupted('No password was given; nothing was done.')));
      case '\x04':
        return line.length > 0
          ? undefined
          : settle(({ reject }) => reject(refused('No password was typed.')));
      case '\x7f':
      case '\b':
        return void line.pop();
      case '\x15':
        return void line.splice(0);
      case '\x1b':
        inEscape = true;
        return undefined;
      default:
        return void line.push(character);
    }
  };
  const work = (): void => {
    const characters = Array.from(ahead);
    let used = 0;
    for (; used < characters.length && waiting !== undefined; used += 1) press(characters[used] ?? '');
    ahead = characters.slice(used).join('');
  };
  const onData = (chunk: Uint8Array): void => {
    ahead += decoder.write(Buffer.from(chunk));
    work();
  };
  // The terminal has gone away, perhaps before the question was out.
  const onEnd = (): void => {
    gone = true;
    settle(({ reject }) => reject(refused('No password was typed.')));
  };
  stdin.on('data', onData).on('end', onEnd).on('error', onEnd);
  return {
    next() {
      waiting = Promise.withResolvers<string>();
      line = [];
      const { promise } = waiting;
      work();
      if (gone) onEnd();
      return promise;
    },
    [Symbol.dispose]: () => {
      stdin.off('data', onData).off('end', onEnd).off('error', onEnd);
      stdin.pause();
    },
  };
}

function refused(message: string): WirtError {
  return new WirtError('request.invalid', message, {
    hint: 'Type it at the terminal, or give it as a line of standard input: wirt run --password … < FILE',
  });
}
