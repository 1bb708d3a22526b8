/**
 * For tests: network namespaces without a name and without a mount. A process holds each until its standard input ends, so that none outlives the
 * test, however that ends. Programs are run in one by `nsenter --net=/proc/PID/ns/net`; a module of the daemon by `startInside`, as a
 * process of its own that answers calls, since a process is in one namespace as a whole. (`ip netns exec` hides cgroup mounts; `ip netns add` leaves some.)
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { type ProgramResult, runProgram, runToSuccess } from './subprocess.ts';

export const isRoot = process.geteuid?.() === 0;
const startMs = 20_000;
const programMs = 30_000;
const callMs = 60_000;

export interface TestNetns extends AsyncDisposable {
  readonly pid: number;
  /** For `nsenter`, before the program. */
  readonly enter: readonly string[];
  /** Runs a program inside, and throws where it fails. Returns what it wrote. */
  run(program: string, args: readonly string[], stdin?: string): Promise<string>;
  /** As `run`, whatever its exit code. */
  try(program: string, args: readonly string[], stdin?: string): Promise<ProgramResult>;
  /** `ip` by lines of a batch. */
  ip(...lines: readonly string[]): Promise<void>;
  /** Starts a program inside that runs on; it is ended with the namespace. */
  start(program: string, args: readonly string[]): ChildProcess;
  /** Starts a module that calls `serveCalls`. */
  startInside(module: URL, ...args: readonly string[]): Promise<CallServer>;
}

/** An own namespace, with its loopback up. Needs root. */
export async function createNetns(): Promise<TestNetns> {
  const holder = spawn('unshare', ['--net', 'sh', '-c', 'ip link set lo up && echo && exec cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await once(holder.stdout, 'data', { signal: AbortSignal.timeout(startMs) });
  const pid = holder.pid ?? 0;
  const enter = [`--net=/proc/${pid}/ns/net`];
  const children = new Set<ChildProcess>([holder]);
  const options = (stdin?: string) => ({ timeoutMs: programMs, ...(stdin === undefined ? {} : { stdin }) });
  const keep = <T extends ChildProcess>(child: T): T => {
    children.add(child);
    child.once('exit', () => children.delete(child));
    return child;
  };
  return {
    pid,
    enter,
    async run(program, args, stdin) {
      return (await runToSuccess('nsenter', [...enter, program, ...args], options(stdin))).stdout;
    },
    try: (program, args, stdin) => runProgram('nsenter', [...enter, program, ...args], options(stdin)),
    async ip(...lines) {
      await runToSuccess('nsenter', [...enter, 'ip', '-batch', '-'], options(`${lines.join('\n')}\n`));
    },
    start: (program, args) =>
      keep(spawn('nsenter', [...enter, program, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })),
    async startInside(module, ...args) {
      const command = [...enter, process.execPath, fileURLToPath(module), ...args];
      return await connect(
        keep(spawn('nsenter', command, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })),
      );
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([...children].map(kill));
    },
  };
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

/** A pair of connected interfaces, one end in each of two namespaces. */
export async function connectNetns(
  one: { readonly netns: TestNetns; readonly name: string },
  other: { readonly netns: TestNetns; readonly name: string; readonly mac?: string },
): Promise<void> {
  const mac = other.mac === undefined ? '' : ` address ${other.mac}`;
  await one.netns.ip(
    `link add name ${one.name} type veth peer name ${other.name}${mac} netns ${other.netns.pid}`,
    `link set dev ${one.name} up`,
  );
  await other.netns.ip(`link set dev ${other.name} up`);
}

export interface CallServer extends AsyncDisposable {
  readonly pid: number;
  /** Errors come back with their properties, as plain ones. */
  call<T>(method: string, args?: readonly unknown[], signal?: AbortSignal): Promise<T>;
  onEvent(listener: (event: { readonly name: string; readonly value: unknown }) => void): () => void;
  /** SIGKILL, and waits for its end. */
  kill(): Promise<void>;
}

interface Reply {
  readonly id?: number;
  readonly value?: unknown;
  readonly error?: Readonly<Record<string, unknown>>;
  readonly name?: string;
}

async function connect(child: ChildProcess): Promise<CallServer> {
  const waiting = new Map<number, { resolve(value: unknown): void; reject(error: unknown): void }>();
  const listeners = new Set<(event: { name: string; value: unknown }) => void>();
  let lastId = 0;
  const { promise: ready, resolve, reject } = Promise.withResolvers<void>();
  child.on('message', ({ id, value, error, name }: Reply) => {
    if (name === 'ready') return resolve();
    if (name !== undefined) {
      for (const listener of listeners) listener({ name, value });
      return;
    }
    const call = waiting.get(id ?? -1);
    waiting.delete(id ?? -1);
    if (error === undefined) call?.resolve(value);
    else call?.reject(errorFrom(error));
  });
  child.once('exit', () => {
    const gone = new Error('The process that was called has ended.');
    reject(gone);
    for (const call of waiting.values()) call.reject(gone);
    waiting.clear();
  });
  const deadline = setTimeout(() => reject(new Error('The process to call did not start.')), startMs);
  await ready.finally(() => clearTimeout(deadline));
  return {
    pid: child.pid ?? 0,
    async call<T>(method: string, args: readonly unknown[] = [], signal?: AbortSignal): Promise<T> {
      const id = ++lastId;
      const answer = Promise.withResolvers<unknown>();
      waiting.set(id, answer);
      const timer = setTimeout(() => answer.reject(new Error(`${method} was not answered.`)), callMs);
      const onAbort = (): void => void (child.connected && child.send({ abort: id }));
      if (!child.connected) answer.reject(new Error('The process that was called has ended.'));
      else child.send({ id, method, args });
      signal?.addEventListener('abort', onAbort, { once: true });
      if (signal?.aborted) onAbort();
      // What a caller asks for is what it knows the method to return.
      return (await answer.promise.finally(() => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
      })) as T;
    },
    onEvent(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    kill: () => kill(child),
    [Symbol.asyncDispose]: () => kill(child),
  };
}

function errorFrom({ message, ...rest }: Readonly<Record<string, unknown>>): Error {
  return Object.assign(new Error(String(message)), rest);
}

// A method, whose parameters may be narrower: each handler knows what its caller sends.
type Handler = { handle(args: readonly unknown[], signal: AbortSignal): unknown }['handle'];

/** In the process inside: answers calls of these methods until the caller is gone. Returns what sends an event. */
export function serveCalls(
  handlers: Readonly<Record<string, Handler>>,
): (name: string, value: unknown) => void {
  const running = new Map<number, AbortController>();
  const send = (message: object): void => void (process.connected && process.send?.(message));
  const answer = async (id: number, method: string, args: readonly unknown[]): Promise<void> => {
    const abort = new AbortController();
    running.set(id, abort);
    try {
      send({ id, value: await handlers[method]?.(args, abort.signal) });
    } catch (error) {
      send({ id, error: plain(error) });
    } finally {
      running.delete(id);
    }
  };
  process.on(
    'message',
    (message: { id?: number; method?: string; args?: readonly unknown[]; abort?: number }) => {
      if (message.abort !== undefined) running.get(message.abort)?.abort();
      else void answer(message.id ?? 0, message.method ?? '', message.args ?? []);
    },
  );
  process.on('disconnect', () => process.exit());
  send({ name: 'ready' });
  return (name, value) => send({ name, value });
}

function plain(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { message: String(error) };
  const cause = error.cause === undefined ? {} : { cause: plain(error.cause) };
  return { ...Object.fromEntries(Object.entries(error)), name: error.name, message: error.message, ...cause };
}
