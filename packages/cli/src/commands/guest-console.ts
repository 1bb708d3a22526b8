/**
 * `wirt console`: the serial console of a guest in this terminal, over WebSocket. On a terminal: raw until the detach
 * key. From a pipe: types what comes, and ends when that has ended and the guest has fallen quiet.
 */
import type { ClientRequest, IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import type { Problem } from '@wirt/api';
import { requestLine } from '@wirt/api/client';
import { WirtError } from '@wirt/api/errors';
import { WebSocket } from 'ws';
import { type Commands, type Context, command } from '../command.ts';
import { exitCodes, Interrupted } from '../exit-code.ts';
import { write } from '../io.ts';
import { keyName, rawTerminal, splitAtKey, withoutQueries } from '../terminal.ts';
import { unreachable } from '../transport.ts';

const connectMs = 30_000;
/** The daemon pings every half minute at most; a connection that is silent for longer is dead. */
const silenceMs = 90_000;
/** The daemon takes 64 KiB in one message. */
const maxMessage = 16 * 1024;

export interface ConsoleOptions {
  readonly detachKey: number;
  /** Type `stty rows … cols …` into the guest, at once and when the window changes. */
  readonly typeSize: boolean;
  /** From a pipe: how long the guest must be quiet after the end of the input. */
  readonly settleSeconds: number;
  /** From a pipe: at most so long after the end of the input. */
  readonly timeoutSeconds: number;
}

export const consoleDefaults: ConsoleOptions = {
  detachKey: 0x1d,
  typeSize: false,
  settleSeconds: 1,
  timeoutSeconds: 60,
};

/** Why the console was left. */
type Leaving =
  | { readonly kind: 'detached' | 'settled' }
  | { readonly kind: 'closed'; readonly code: number; readonly reason: string };

/** Attaches until left, and gives the exit code. Throws the daemon's refusal, or `daemon.unreachable`. */
export async function attachConsole(
  context: Context,
  name: string,
  options: ConsoleOptions,
): Promise<number> {
  const { io } = context;
  const socket = await open(context, name);
  try {
    if (io.stdin.isTTY === true) context.note(`Attached to ${name}. ${keyName(options.detachKey)} detaches.`);
    const leaving = await attend(context, socket, options);
    if (io.stdin.isTTY === true && leaving.kind === 'detached')
      io.stderr.write(`\r\nDetached from ${name}.\n`);
    return leaving.kind === 'closed' ? closedCode(context, name, leaving) : exitCodes.ok;
  } finally {
    socket.terminate();
  }
}

/** RFC 6455 §7.4.1: 1000 is an end in order, here that of the guest. */
function closedCode(
  context: Context,
  name: string,
  { code, reason }: Extract<Leaving, { kind: 'closed' }>,
): number {
  if (code === 1000) {
    context.note(reason === '' ? `The console of ${name} has ended.` : reason);
    return exitCodes.ok;
  }
  throw new WirtError('daemon.unreachable', `The console of ${name} was cut off.`, {
    cause: reason === '' ? `WebSocket close code ${code}` : reason,
    hint: `Attach again: \`wirt console ${name}\`.`,
  });
}

function open(context: Context, name: string): Promise<WebSocket> {
  const { path } = requestLine('GET /v1/instances/{instance}/console', { params: { instance: name } });
  const { socketPath } = context;
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://wirt${path}`, {
      // Not ws+unix: it cannot name a socket whose path has a colon.
      createConnection: () => connect({ path: socketPath }),
      perMessageDeflate: false,
      handshakeTimeout: connectMs,
    });
    socket.on('open', () => {
      // The first frames come with the handshake, before anybody listens: they wait here.
      socket.pause();
      resolve(socket);
    });
    socket.on('error', (error) => reject(unreachable(error, { socketPath, answerMs: connectMs })));
    socket.on('unexpected-response', (_request: ClientRequest, response: IncomingMessage) => {
      refusal(name, response).then(reject, reject);
    });
  });
}

async function refusal(name: string, response: IncomingMessage): Promise<Error> {
  let text = '';
  for await (const chunk of response) if (text.length < 100_000) text += String(chunk);
  let problem: Partial<Problem> = {};
  try {
    problem = JSON.parse(text) as Partial<Problem>;
  } catch {
    // Not from wirtd's own hand: the status has to do.
  }
  return new WirtError(
    problem.code ?? 'internal',
    problem.detail ?? `The console of ${name} answered ${response.statusCode}.`,
    {
      ...(problem.cause === undefined ? {} : { cause: problem.cause }),
      ...(problem.hint === undefined ? {} : { hint: problem.hint }),
    },
  );
}

/** Carries bytes both ways until one side is done. */
async function attend(context: Context, socket: WebSocket, options: ConsoleOptions): Promise<Leaving> {
  const { io } = context;
  const { promise, resolve, reject } = Promise.withResolvers<Leaving>();
  using _raw = rawTerminal(io);
  using cleanup = new DisposableStack();
  // In raw mode Ctrl-C is the guest's. From a pipe it is ours.
  if (io.stdin.isTTY !== true) {
    cleanup.defer(io.onInterrupt(() => reject(new Interrupted('Left the console; the guest goes on.'))));
  }
  const silence = watchdog(silenceMs, () => {
    reject(new WirtError('daemon.unreachable', `wirtd has been silent for ${silenceMs / 1000} s.`));
  });
  cleanup.defer(silence.stop);
  const settle = settling(options, () => resolve({ kind: 'settled' }));
  cleanup.defer(settle.stop);

  // Output in order, and the end only after all of it.
  let printed = Promise.resolve();
  // The first frame is what was written before, where anything was.
  let isReplay = io.stdin.isTTY === true;
  socket.on('message', (data: Buffer, isBinary) => {
    silence.feed();
    settle.feed();
    if (!isBinary) return;
    socket.pause();
    const output = isReplay ? withoutQueries(data) : data;
    isReplay = false;
    printed = printed.then(() => write(io.stdout, output)).then(() => socket.resume());
    printed.catch(reject);
  });
  socket.on('ping', silence.feed);
  socket.on('close', (code, reason) => {
    printed.then(() => resolve({ kind: 'closed', code, reason: reason.toString() }), reject);
  });
  // The error says why; `close` follows with 1006.
  socket.on('error', reject);
  cleanup.use(sendInput(context, socket, options, settle.inputEnded, () => resolve({ kind: 'detached' })));
  cleanup.use(sendSize(context, socket, options.typeSize));
  socket.resume();
  const leaving = await promise;
  await printed;
  return leaving;
}

function watchdog(ms: number, late: () => void) {
  let timer = setTimeout(late, ms);
  return {
    feed: () => {
      clearTimeout(timer);
      timer = setTimeout(late, ms);
    },
    stop: () => clearTimeout(timer),
  };
}

/** Calls `done` when the input has ended and the output has been quiet for a while, or at the latest. */
function settling({ settleSeconds, timeoutSeconds }: ConsoleOptions, done: () => void) {
  let quiet: NodeJS.Timeout | undefined;
  let latest: NodeJS.Timeout | undefined;
  return {
    inputEnded: () => {
      quiet ??= setTimeout(done, settleSeconds * 1000);
      latest ??= setTimeout(done, timeoutSeconds * 1000);
    },
    feed: () => {
      quiet?.refresh();
    },
    stop: () => {
      clearTimeout(quiet);
      clearTimeout(latest);
    },
  };
}

function sendInput(
  { io }: Context,
  socket: WebSocket,
  { detachKey }: ConsoleOptions,
  ended: () => void,
  detach: () => void,
): Disposable {
  const { stdin } = io;
  const typed = stdin.isTTY === true;
  const onData = (chunk: Uint8Array): void => {
    // From a pipe every byte is data.
    const { input, detached } = typed ? splitAtKey(chunk, detachKey) : { input: chunk, detached: false };
    for (let at = 0; at < input.length && socket.readyState === WebSocket.OPEN; at += maxMessage) {
      stdin.pause();
      socket.send(input.subarray(at, at + maxMessage), { binary: true }, () => stdin.resume());
    }
    if (detached) detach();
  };
  // A terminal that has gone away ends like a pipe.
  stdin.on('data', onData).on('end', ended).on('error', ended);
  return {
    [Symbol.dispose]: () => {
      stdin.off('data', onData).off('end', ended).off('error', ended);
      stdin.pause();
    },
  };
}

/** Tells the daemon the window's size, and the guest by typing it where asked: a serial line itself has none. */
function sendSize({ io }: Context, socket: WebSocket, typeSize: boolean): Disposable {
  const { stdout } = io;
  const send = (): void => {
    const { columns, rows } = stdout;
    if (stdout.isTTY !== true || columns === undefined || rows === undefined || columns < 1 || rows < 1)
      return;
    if (socket.readyState !== WebSocket.OPEN) return;
    socket.send(JSON.stringify({ resize: { columns, rows } }));
    if (typeSize) socket.send(Buffer.from(`stty rows ${rows} cols ${columns}\r`));
  };
  stdout.on('resize', send);
  send();
  return { [Symbol.dispose]: () => stdout.off('resize', send) };
}

const attach = command({
  arguments: { name: { summary: 'Name or id of the instance', complete: 'instance' } },
  options: {
    'detach-key': {
      kind: 'control-key',
      value: 'KEY',
      default: 'ctrl-]',
      summary: 'Key that leaves the console',
    },
    resize: {
      kind: 'flag',
      summary: 'Type `stty rows … cols …` into the guest, now and when the window changes',
    },
    settle: {
      kind: 'seconds',
      value: 'SECONDS',
      default: 1,
      summary: 'From a pipe: leave when the guest has been quiet for so long',
    },
    timeout: {
      kind: 'seconds',
      value: 'SECONDS',
      default: 60,
      summary: 'From a pipe: leave so long after its end at the latest',
    },
  },
  examples: [
    {
      line: 'wirt console demo',
      does: 'What the guest last wrote comes first. Ctrl-] leaves; the guest goes on.',
    },
    {
      line: 'wirt console demo --detach-key ctrl-a --resize',
      does: 'At a shell prompt: full-screen programs fit the window.',
    },
    { line: "echo 'uname -r' | wirt console demo", does: 'Types a line, prints what follows, and leaves.' },
  ],
  notes: [
    'Any number may be attached at once, and all see the same.',
    'What the guest writes reaches your terminal as it is.',
  ],
  async run(context, { args, options }) {
    const exitCode = await attachConsole(context, args.name, {
      detachKey: options['detach-key'],
      typeSize: options.resize,
      settleSeconds: options.settle,
      timeoutSeconds: options.timeout,
    });
    return { exitCode };
  },
});

export const commands: Commands = { console: attach };
