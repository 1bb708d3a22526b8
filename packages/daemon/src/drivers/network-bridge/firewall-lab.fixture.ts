// Network namespaces with an agent in each, for tests that send real packets. A namespace lives as long as its agent, which ends with this
// process: nothing is mounted, and nothing is left behind.
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { runProgram, runToSuccess } from '../../platform/subprocess.ts';

export type LabProtocol = 'tcp' | 'udp';

export type LabRequest =
  | { readonly op: 'hello' }
  | { readonly op: 'sysctl'; readonly key: string; readonly value: string }
  | { readonly op: 'serve'; readonly protocol: LabProtocol; readonly port: number; readonly host?: string }
  | {
      readonly op: 'ask';
      readonly protocol: LabProtocol;
      readonly host: string;
      readonly port: number;
      readonly from?: string;
      readonly fromPort?: number;
      readonly keep?: string;
      readonly payloadHex?: string;
      readonly timeoutMs: number;
    }
  | {
      readonly op: 'flood';
      readonly host: string;
      readonly ports: number;
      readonly from: string;
    }
  | { readonly op: 'say'; readonly keep: string; readonly timeoutMs: number };

export interface LabAnswer {
  /** The address that the other end saw, or what it said again. */
  readonly heard?: string;
  readonly failed?: string;
}

/** How long an answer that must come may take, and one that must not come is waited for. */
const answerMs = 8_000;
const silenceMs = 700;

/** A namespace. */
export interface LabPlace extends AsyncDisposable {
  /** Before a program and its arguments, to run it there. */
  readonly enter: readonly [string, ...string[]];
  ip(...args: readonly string[]): Promise<string>;
  nft(script: string): Promise<string>;
  sysctl(key: string, value: string): Promise<void>;
  serve(protocol: LabProtocol, port: number, host?: string): Promise<void>;
  /** What the server heard: the address that it saw; undefined when nothing came back. */
  ask(protocol: LabProtocol, host: string, port: number, options?: AskOptions): Promise<string | undefined>;
  /** As `ask`, where nothing is expected to come back: waits less. */
  knock(protocol: LabProtocol, host: string, port: number, options?: AskOptions): Promise<string | undefined>;
  /** Whether a connection kept by `ask` carries bytes there and back. */
  /** Sends a datagram to each of so many ports. */
  flood(host: string, ports: number, from: string): Promise<void>;
  stillTalks(keep: string): Promise<boolean>;
  isSilent(keep: string): Promise<boolean>;
  ping(host: string, ...args: readonly string[]): Promise<boolean>;
  pingInVain(host: string, ...args: readonly string[]): Promise<boolean>;
}

export interface AskOptions {
  readonly from?: string;
  readonly fromPort?: number;
  readonly keep?: string;
  /** Of a datagram; default: a question mark. */
  readonly payloadHex?: string;
}

const agentPath = fileURLToPath(new URL('./firewall-lab-agent.fixture.ts', import.meta.url));

export async function createPlace(): Promise<LabPlace> {
  const child = spawn('unshare', ['--net', '--', process.execPath, agentPath], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ask = talkTo(child);
  await ask({ op: 'hello' });
  const enter = ['nsenter', `--net=/proc/${child.pid}/ns/net`] as const;
  const run = async (...args: readonly string[]): Promise<string> =>
    (await runToSuccess(enter[0], [enter[1], ...args], { timeoutMs: 10_000 })).stdout;
  const done = async (request: LabRequest): Promise<void> => {
    const { failed } = await ask(request);
    if (failed !== undefined) throw new Error(`${JSON.stringify(request)}: ${failed}`);
  };
  const ping = async (waitMs: number, host: string, args: readonly string[]): Promise<boolean> => {
    const words = ['ping', '-n', '-c', '1', '-W', String(waitMs / 1000), ...args, host];
    return (await runProgram(enter[0], [enter[1], ...words], { timeoutMs: 20_000 })).exitCode === 0;
  };
  const place: LabPlace = {
    enter: [...enter],
    ip: async (...args) => await run('ip', ...args),
    nft: async (script) =>
      (await runToSuccess(enter[0], [enter[1], 'nft', '-f', '-'], { timeoutMs: 10_000, stdin: script }))
        .stdout,
    sysctl: async (key, value) => await done({ op: 'sysctl', key, value }),
    serve: async (protocol, port, host) =>
      await done({ op: 'serve', protocol, port, ...(host === undefined ? {} : { host }) }),
    ask: async (protocol, host, port, options = {}) =>
      (await ask({ op: 'ask', protocol, host, port, timeoutMs: answerMs, ...options })).heard,
    knock: async (protocol, host, port, options = {}) =>
      (await ask({ op: 'ask', protocol, host, port, timeoutMs: silenceMs, ...options })).heard,
    flood: async (host, ports, from) => await done({ op: 'flood', host, ports, from }),
    stillTalks: async (keep) => (await ask({ op: 'say', keep, timeoutMs: answerMs })).heard === 'again',
    isSilent: async (keep) => (await ask({ op: 'say', keep, timeoutMs: silenceMs })).failed === 'silence',
    ping: async (host, ...args) => await ping(answerMs, host, args),
    pingInVain: async (host, ...args) => !(await ping(silenceMs, host, args)),
    async [Symbol.asyncDispose]() {
      const { promise, resolve } = Promise.withResolvers<void>();
      child.once('exit', () => resolve());
      child.stdin?.end();
      await promise;
    },
  };
  await place.sysctl('ipv6/conf/default/accept_dad', '0');
  await place.sysctl('ipv6/conf/all/accept_dad', '0');
  await place.ip('link', 'set', 'lo', 'up');
  return place;
}

function talkTo(child: ChildProcess): (request: LabRequest) => Promise<LabAnswer> {
  const waiting = new Map<number, (answer: LabAnswer) => void>();
  let last = 0;
  if (child.stdout === null) throw new Error('The agent has no output.');
  createInterface({ input: child.stdout }).on('line', (line) => {
    const { id, ...answer } = JSON.parse(line) as LabAnswer & { id: number };
    waiting.get(id)?.(answer);
    waiting.delete(id);
  });
  child.once('exit', () => {
    for (const resolve of waiting.values()) resolve({ failed: 'the agent is gone' });
  });
  return (request) => {
    const { promise, resolve } = Promise.withResolvers<LabAnswer>();
    last += 1;
    waiting.set(last, resolve);
    child.stdin?.write(`${JSON.stringify({ ...request, id: last })}\n`);
    return promise;
  };
}

export interface Cable {
  readonly place: LabPlace;
  readonly name: string;
  readonly mac?: string;
  readonly addresses?: readonly string[];
  readonly bridge?: string;
}

/** A veth pair, with an end in each place. */
export async function plug(one: Cable, other: Cable): Promise<void> {
  const pid = /\d+/.exec(other.place.enter[1] ?? '')?.[0] ?? '';
  const mac = (cable: Cable): string[] => (cable.mac === undefined ? [] : ['address', cable.mac]);
  await one.place.ip(
    ...['link', 'add', one.name, ...mac(one), 'type', 'veth'],
    ...['peer', 'name', other.name, ...mac(other), 'netns', pid],
  );
  for (const { place, name, addresses = [], bridge } of [one, other]) {
    if (bridge !== undefined) await place.ip('link', 'set', name, 'master', bridge);
    for (const address of addresses)
      await place.ip('addr', 'add', address, 'dev', name, ...(address.includes(':') ? ['nodad'] : []));
    await place.ip('link', 'set', name, 'up');
  }
}
