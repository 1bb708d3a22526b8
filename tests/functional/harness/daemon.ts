// A real wirtd for a test: its own state and run directory, killed and cleared at the end, with the host checked.
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Instance, InstanceCreate, InstanceState, Operation } from '@wirt/api';
import { type Client, createClient } from '@wirt/api/client';
import { fromTemplate, plainEnvironment, type Recipe } from './image.ts';
import { type Log, readLog } from './log.ts';
import { clearHost, remains } from './remains.ts';
import { unixFetch } from './unix-fetch.ts';

export const cloneRoot = join(import.meta.dirname, '../../..');

export interface DaemonOptions {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** The one that is there from the start; the micro image without it. */
  readonly image?: Recipe;
  /** Without any image: an empty state directory. */
  readonly empty?: boolean;
  /** A prefix to the command, such as setpriv with its arguments. */
  readonly under?: readonly string[];
  readonly directory?: string;
  /** The uid that owns the state directory; the tests' own without it. */
  readonly owner?: number;
}

export interface TestDaemon extends AsyncDisposable {
  readonly directory: string;
  readonly stateDirectory: string;
  readonly runDirectory: string;
  readonly socket: string;
  readonly tag: string;
  readonly client: Client;
  readonly fetch: typeof fetch;
  pid(): number;
  log(): Log;
  /** Kills wirtd with SIGKILL and waits until it is gone. */
  kill(): Promise<void>;
  /** Ends wirtd with SIGTERM and gives its exit status. */
  stop(): Promise<number | null>;
  /** Resolves when wirtd has ended, by whatever. */
  ended(): Promise<void>;
  /** Starts a wirtd on the same directories and waits until it is ready. */
  start(options?: DaemonOptions): Promise<void>;
  remains(): Promise<string[]>;
  /** Creates an instance of the micro image, small, and waits for its operation. */
  create(name: string, input?: PartialCreate): Promise<Operation>;
  /** The instance when its state is one of `states`; waits for it by events. */
  reach(name: string, ...states: (InstanceState | 'gone')[]): Promise<Instance | undefined>;
}

export type PartialCreate = Partial<Omit<InstanceCreate, 'spec'>> & {
  readonly spec?: Partial<InstanceCreate['spec']>;
};

async function launch(directory: string, options: DaemonOptions): Promise<{ child: ChildProcess; log: Log }> {
  const [program, ...under] = [...(options.under ?? []), join(cloneRoot, 'bin/wirtd')];
  const args = [
    '--state-dir',
    join(directory, 'state'),
    '--run-dir',
    join(directory, 'run'),
    // Tests of networks ask for bridges, in a network namespace of their own: the last one given counts.
    '--network-driver',
    'user',
    // The host is left as it was.
    '--host-tuning',
    'off',
    ...(options.args ?? []),
  ];
  const child = spawn(program, [...under, ...args], {
    stdio: ['ignore', 'inherit', 'pipe'],
    env: { ...plainEnvironment(), ...options.env },
  });
  const log = readLog(child.stderr);
  return { child, log };
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) {
    const exit = once(child, 'exit');
    child.kill(signal);
    await exit;
  }
  return child.exitCode;
}

export async function startDaemon(options: DaemonOptions = {}): Promise<TestDaemon> {
  const directory = options.directory ?? (await realpath(await mkdtemp(join(tmpdir(), 'wirt-'))));
  // Guests have uids of their own, and must get through to the image that they boot.
  await chmod(directory, 0o755);
  const stateDirectory = join(directory, 'state');
  const runDirectory = join(directory, 'run');
  const socket = join(runDirectory, 'wirtd.sock');
  const tag = createHash('sha256').update(stateDirectory).digest('hex').slice(0, 8);
  const fetchHere = unixFetch(socket);
  const client = createClient({ fetch: fetchHere });
  if (options.empty !== true) await fromTemplate(stateDirectory, options);
  let { child, log } = await launch(directory, options);

  const daemon: TestDaemon = {
    directory,
    stateDirectory,
    runDirectory,
    socket,
    tag,
    client,
    fetch: fetchHere,
    pid: () => child.pid ?? 0,
    log: () => log,
    kill: async () => void (await end(child, 'SIGKILL')),
    stop: () => end(child, 'SIGTERM'),
    ended: async () => {
      if (child.exitCode === null && child.signalCode === null)
        await once(child, 'exit', { signal: AbortSignal.timeout(60_000) });
    },
    start: async (again = {}) => {
      ({ child, log } = await launch(directory, again));
      await log.find(({ event }) => event === 'daemon.ready', 'daemon.ready');
    },
    remains: () => remains({ tag, runDirectory, stateDirectory }),
    create: (name, input = {}) => create(client, name, input),
    reach: (name, ...states) => reach(client, name, states),
    [Symbol.asyncDispose]: async () => {
      await end(child, 'SIGKILL');
      await clearHost(tag);
      // A directory that the test brought may be a mount, and is its own to remove.
      if (options.directory === undefined)
        await rm(directory, { recursive: true, force: true, maxRetries: 3 });
    },
  };
  try {
    await log.find(({ event }) => event === 'daemon.ready', 'daemon.ready');
  } catch (error) {
    await daemon[Symbol.asyncDispose]();
    throw error;
  }
  return daemon;
}

function create(client: Client, name: string, input: PartialCreate): Promise<Operation> {
  const { spec, ...head } = input;
  const body = { name, ...head, spec: { image: 'micro', memoryMib: 64, ...spec } };
  return client.call('POST /v1/instances', { body, query: { wait: 'done' } });
}

async function reach(
  client: Client,
  name: string,
  states: readonly (InstanceState | 'gone')[],
): Promise<Instance | undefined> {
  const done = new AbortController();
  const signal = AbortSignal.any([done.signal, AbortSignal.timeout(30_000)]);
  let seen = 'nothing';
  const look = async (): Promise<{ instance: Instance | undefined } | undefined> => {
    const instance = await client
      .call('GET /v1/instances/{instance}', { params: { instance: name } })
      .catch(() => undefined);
    seen = instance?.status.state ?? 'gone';
    return states.includes(instance?.status.state ?? 'gone') ? { instance } : undefined;
  };
  try {
    // From the beginning of the log, so that nothing between looking and listening is missed.
    for await (const _ of client.events({ since: 0 }, signal)) {
      const found = await look();
      if (found !== undefined) return found.instance;
    }
  } catch (error) {
    throw new Error(`${name} is ${seen}, and not ${states.join(' or ')}`, { cause: error });
  } finally {
    done.abort();
  }
  throw new Error(`the events ended while ${name} was ${seen}`);
}
