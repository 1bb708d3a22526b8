/**
 * Sends one packet from a port of its own, in a network namespace of its own, and looks whether it leaves the last hook of the host: what the filter
 * drops never gets there, whether or not anybody answers. All of it goes away with the probe, and with the daemon.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { WirtError } from '@wirt/api';
import type { NetworkProbe, PlannedNetwork, PlannedPort } from '@wirt/core';
import { runProgram, runToSuccess, SubprocessError } from '../../platform/subprocess.ts';
import { changeLinks } from './ip.ts';
import { type HostNames, macFor } from './names.ts';
import { parseSubnet } from './subnet.ts';

export interface ProbeGround {
  readonly names: HostNames;
  readonly network: PlannedNetwork;
  /** The MAC address that goes with what is probed, where that is a guest of the same network. */
  readonly targetMac?: string | undefined;
  /** Puts the port into the plan, beside what is applied meanwhile, and takes it out again. */
  admit(port: PlannedPort, signal: AbortSignal): Promise<{ dismiss(): Promise<void> }>;
}

const timeoutMs = 10_000;
/** For the answer; also how long the packet may be on its way. */
const answerMs = 1_500;

export async function sendProbe(
  probe: NetworkProbe,
  { names, network, targetMac, admit }: ProbeGround,
  signal: AbortSignal,
): Promise<{ passes: boolean; why: string }> {
  const id = randomBytes(4).toString('hex');
  const port = portOf(probe, names.tag, id);
  const table = probeTable(names.tag, id);
  await using undo = new AsyncDisposableStack();
  const holder = await holdNamespace(signal);
  undo.defer(() => end(holder));
  undo.use({ [Symbol.asyncDispose]: () => nft(`add table inet ${table}\ndelete table inet ${table}\n`) });
  // The host may do it on its own while the port is there: the daemon's signal stops the packet, not the tidying up.
  const { dismiss } = await admit(port, signal);
  undo.defer(dismiss);
  const name = names.port(port);
  undo.defer(async () => void (await changeLinks([{ line: `link del dev ${name}`, wrong: '' }])));
  await plugIn(port, network, names, holder.pid ?? 0);
  if (targetMac !== undefined) await know(probe.to, targetMac, holder.pid ?? 0);
  await nft(countersScript(table, probe));
  const said = await send(probe, holder.pid ?? 0, signal);
  const packets = await countedPackets(table, signal);
  return verdict(probe, packets, said);
}

const probeTable = (tag: string, id: string): string => `wirt_${tag}_probe_${id}`;

/** Tables of probes that a daemon before this one did not end. */
export async function sweepProbes(tag: string): Promise<void> {
  const { stdout } = await runToSuccess('nft', ['list', 'tables', 'inet'], { timeoutMs });
  const left = stdout
    .split('\n')
    .map((line) => line.replace(/^table inet /, '').trim())
    .filter((name) => name.startsWith(probeTable(tag, '')) && /_[0-9a-f]{8}$/.test(name));
  if (left.length > 0) await nft(left.map((name) => `delete table inet ${name}\n`).join(''));
}

/** `id`: of this probe alone, so that others may be under way. */
export function portOf(probe: NetworkProbe, tag: string, id: string): PlannedPort {
  const instance = `probe-${id}`;
  return {
    instance,
    nic: 'probe',
    network: probe.network,
    hostname: 'probe',
    mac: macFor(tag, instance),
    ...(probe.from.includes(':') ? { ipv6: probe.from } : { ipv4: probe.from }),
    groups: probe.groups,
    publish: [],
    antiSpoofing: true,
    queues: 1,
    mtu: 1280,
    owner: { uid: 0, gid: 0 },
  };
}

/** A process that holds a namespace until its input ends, and so no longer than the daemon lives. */
async function holdNamespace(signal: AbortSignal): Promise<ChildProcess> {
  const child = spawn('unshare', ['--net', 'sh', '-c', 'echo; exec cat'], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  try {
    await once(child.stdout, 'data', { signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]) });
    return child;
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

async function plugIn(
  port: PlannedPort,
  network: PlannedNetwork,
  names: HostNames,
  pid: number,
): Promise<void> {
  const name = names.port(port);
  const bridge = names.bridge(network.id);
  const outside = [
    `link add name ${name} type veth peer name probe0 address ${port.mac} netns ${pid}`,
    `link set dev ${name} alias "${names.alias('port', port.instance, port.nic)}" addrgenmode none master ${bridge} up`,
  ];
  const v6 = port.ipv6 !== undefined;
  const subnet = v6 ? network.ipv6 : network.ipv4;
  const prefix = parseSubnet(subnet?.subnet ?? '')?.prefix ?? (v6 ? 64 : 24);
  const inside = [
    'link set dev lo up',
    'link set dev probe0 up',
    `addr add ${port.ipv6 ?? port.ipv4}/${prefix} dev probe0${v6 ? ' nodad' : ''}`,
    ...(subnet === undefined ? [] : [`route add default via ${subnet.gateway} dev probe0`]),
  ];
  const [failed] = await changeLinks(outside.map((line) => ({ line, wrong: '' })));
  if (failed !== undefined)
    throw new WirtError('network.failed', `No packet can be sent on network ${network.name}.`, {
      cause: new Error(failed.said),
    });
  await runToSuccess('nsenter', [...enter(pid), 'ip', '-batch', '-'], {
    stdin: `${inside.join('\n')}\n`,
    timeoutMs,
  });
}

/** A guest that is slow to answer who has its address would look like one that the rules keep away. */
async function know(address: string, mac: string, pid: number): Promise<void> {
  const args = ['neigh', 'replace', address, 'lladdr', mac, 'dev', 'probe0', 'nud', 'permanent'];
  await runToSuccess('nsenter', [...enter(pid), 'ip', ...args], { timeoutMs });
}

const enter = (pid: number): string[] => [`--net=/proc/${pid}/ns/net`];

/** After all others: what counts there has been let pass. */
function countersScript(table: string, { from, to }: NetworkProbe): string {
  const family = from.includes(':') ? 'ip6' : 'ip';
  const chain = (name: string): string =>
    `  chain ${name} {\n    type filter hook ${name} priority 1000; policy accept;\n    ct original ${family} saddr ${from} ct original ${family} daddr ${to} counter name passed\n  }\n`;
  return `add table inet ${table}\ndelete table inet ${table}\ntable inet ${table} {\n  counter passed { }\n${chain('postrouting')}${chain('input')}}\n`;
}

async function nft(script: string): Promise<void> {
  await runToSuccess('nft', ['-f', '-'], { stdin: script, timeoutMs });
}

async function countedPackets(table: string, signal: AbortSignal): Promise<number> {
  const { stdout } = await runToSuccess('nft', ['list', 'counter', 'inet', table, 'passed'], {
    timeoutMs,
    signal,
  });
  return Number(/packets (\d+)/.exec(stdout)?.[1] ?? 0);
}

/** What came back, in a word. */
type Said = 'answered' | 'refused' | 'unreachable' | 'silent';

async function send(probe: NetworkProbe, pid: number, signal: AbortSignal): Promise<Said> {
  if (probe.protocol === 'icmp') return await ping(probe, pid, signal);
  const args = ['-e', senderScript, probe.protocol, probe.to, String(probe.port ?? 80), String(answerMs)];
  const { stdout } = await runToSuccess('nsenter', [...enter(pid), process.execPath, ...args], {
    timeoutMs,
    signal,
  });
  return stdout.trim() as Said;
}

async function ping({ to }: NetworkProbe, pid: number, signal: AbortSignal): Promise<Said> {
  try {
    const seconds = String(Math.ceil(answerMs / 1000));
    const { exitCode } = await runProgram(
      'nsenter',
      [...enter(pid), 'ping', '-n', '-c', '1', '-W', seconds, to],
      {
        timeoutMs,
        signal,
      },
    );
    if (exitCode !== 127) return exitCode === 0 ? 'answered' : 'silent';
  } catch (error) {
    if (!(error instanceof SubprocessError && error.isMissing)) throw error;
  }
  throw new WirtError('network.unsupported', 'The host has no ping, by which ICMP would be sent.', {
    hint: 'apt-get install iputils-ping',
  });
}

/** Run by Node in the namespace. */
const senderScript = `
const [protocol, to, port, ms] = process.argv.slice(1);
const end = (said) => { console.log(said); process.exit(0); };
const onError = ({ code }) => end(code === 'ECONNREFUSED' || code === 'ECONNRESET' ? 'refused' : 'unreachable');
setTimeout(() => end('silent'), Number(ms));
if (protocol === 'tcp') {
  require('node:net').connect({ host: to, port: Number(port) }, () => end('answered')).on('error', onError);
} else {
  const socket = require('node:dgram').createSocket(to.includes(':') ? 'udp6' : 'udp4');
  socket.on('error', onError).on('message', () => end('answered'));
  socket.connect(Number(port), to, (error) => { if (error) onError(error); else socket.send('wirt network trace'); });
}`;

function verdict(probe: NetworkProbe, packets: number, said: Said): { passes: boolean; why: string } {
  const { protocol, to, port } = probe;
  const sent = `${protocol.toUpperCase()} to ${to}${port === undefined || protocol === 'icmp' ? '' : ` port ${port}`}`;
  const came = {
    answered: 'it was answered',
    refused: 'it arrived, and nobody listens there',
    unreachable: 'no way to it was found',
    silent: 'no answer came',
  }[said];
  const passes = said === 'answered' || said === 'refused' || packets > 0;
  if (passes) return { passes, why: `${sent}: the host let it pass, and ${came}.` };
  return {
    passes,
    why:
      said === 'silent' ? `${sent}: the host dropped it, or nobody has that address.` : `${sent}: ${came}.`,
  };
}
