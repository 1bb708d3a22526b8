// Measures from inside a guest, or at the other end of its wire, what a limit lets through: never by what wirtd says.
import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { Networked } from './networked.ts';

const run = promisify(execFile);

/** A line of shell that prints, for each processor, how many turns a loop made in `seconds` of the guest's own clock. */
export function turnLoop(seconds: number, cpus: number): string {
  // From one tick of the clock to another, whole seconds later.
  const loop =
    `awk 'BEGIN{t=systime();while(systime()==t);e=systime()+${seconds};` +
    `while(systime()<e)for(j=0;j<200;j++)i++;print i}'`;
  return `${Array.from({ length: cpus }, () => `${loop} &`).join(' ')} wait`;
}

/** What a guest gets done, in turns of a loop, by all its processors together. */
export async function turns(net: Networked, guest: string, seconds: number, cpus = 1): Promise<number> {
  const { text } = await net.sh(guest, turnLoop(seconds, cpus), seconds + 60);
  return text.split('\n').reduce((sum, line) => sum + Number(line), 0);
}

/**
 * Processors that a busy guest with one vCPU has, as it sees it: a loop looks at the clock, and a millisecond that is missing between two looks was
 * taken from it. What QEMU's own threads take counts with the guest, as its limit does; the guest does not see that, and the kernel is asked.
 */
export async function coresSeen(net: Networked, guest: string, seconds: number): Promise<number> {
  const pid = (await net.instance(guest)).status.process?.pid ?? 0;
  const look = '${EPOCHREALTIME/./}';
  const loop =
    `s=${look}; p=$s; e=$((s+${seconds}000000)); g=0; while [ $p -lt $e ]; do ` +
    `t=${look}; d=$((t-p)); [ $d -ge 1000 ] && g=$((g+d)); p=$t; done; echo $g $((p-s))`;
  const [before, from] = [await emulatorSeconds(pid), performance.now()];
  const { text } = await net.sh(guest, loop, seconds + 60);
  const emulator = ((await emulatorSeconds(pid)) - before) / ((performance.now() - from) / 1000);
  const [gone = Number.NaN, whole = Number.NaN] = text.split(' ').map(Number);
  return 1 - gone / whole + emulator;
}

/**
 * How long a guest that was idle is held up within its first `ms` of work, in ms, at least (what else the machine does holds it up, too): of its
 * own clock, what is missing between two looks at it, in the best of seven times, each at another moment of the period in which the kernel gives time.
 */
export async function heldUp(net: Networked, guest: string, ms: number): Promise<number> {
  const look = '${EPOCHREALTIME/./}';
  const loop =
    `for i in 1 2 3 4 5 6 7; do sleep 1; usleep $((i*17000)); g=0; p=${look}; e=$((p+${ms}000)); while [ $p -lt $e ]; do ` +
    `t=${look}; d=$((t-p)); [ $d -ge 5000 ] && g=$((g+d)); p=$t; done; echo $g; done`;
  return Math.min(...(await net.sh(guest, loop)).text.split('\n').map(Number)) / 1000;
}

/** Processor time of all threads that are no vCPUs. */
async function emulatorSeconds(pid: number): Promise<number> {
  let ticks = 0;
  for (const thread of await readdir(`/proc/${pid}/task`)) {
    const stat = await readFile(`/proc/${pid}/task/${thread}/stat`, 'utf8').catch(() => '');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (stat !== '' && !/\(CPU \d+\/(TCG|KVM)\)/.test(stat)) ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / 100;
}

/** Processor time that a process has used. */
export async function processSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/**
 * Processor time that guests get of one processor of the host, which they share; over the same stretch for all, in which all are busy. What each
 * sees of it, too.
 */
export async function shares(
  net: Networked,
  guests: readonly string[],
  seconds: number,
): Promise<{ readonly seconds: number; readonly seen: number }[]> {
  for (const guest of guests) await pinned(net, guest, 1);
  const pids = await Promise.all(guests.map(async (name) => (await net.instance(name)).status.process?.pid));
  const used = () => Promise.all(pids.map((pid = 0) => processSeconds(pid)));
  // Longer than they are looked at, on both sides.
  const busy = guests.map((name) => coresSeen(net, name, seconds + 4));
  await net.network.outside.run('sleep', '2');
  const before = await used();
  await net.network.outside.run('sleep', String(seconds));
  const after = await used();
  const seen = await Promise.all(busy);
  return guests.map((_, at) => ({ seconds: (after[at] ?? 0) - (before[at] ?? 0), seen: seen[at] ?? 0 }));
}

/** Leaves a guest one processor of the host, so that two such guests fill it. */
export async function pinned(net: Networked, guest: string, processor: number): Promise<void> {
  const pid = (await net.instance(guest)).status.process?.pid ?? 0;
  await run('taskset', ['-a', '-c', '-p', String(processor), String(pid)]);
}

/** Bytes a second at which a guest reads or writes its disk past every cache, by its own clock. */
export async function diskRate(
  net: Networked,
  guest: string,
  {
    way,
    blockKib,
    count,
    device = '/dev/vda',
  }: {
    readonly way: 'read' | 'write';
    readonly blockKib: number;
    readonly count: number;
    readonly device?: string;
  },
): Promise<number> {
  const dd =
    way === 'read'
      ? `dd if=${device} of=/dev/null iflag=direct bs=${blockKib}k count=${count}`
      : `dd if=/dev/zero of=${device} oflag=direct bs=${blockKib}k count=${count}`;
  const { text, exitCode } = await net.sh(
    guest,
    `a=$(cut -d' ' -f1 /proc/uptime); ${dd} >/dev/null 2>&1 || exit 1; echo $a $(cut -d' ' -f1 /proc/uptime)`,
    120,
  );
  if (exitCode !== 0) throw new Error(`dd in ${guest} failed: ${text}`);
  const [from = 0, to = 0] = text.split(' ').map(Number);
  return (blockKib * 1024 * count) / (to - from);
}

/** Outside of the host: who connects to port 9 can send without end, and who connects to port 19 gets without end (RFC 863, RFC 864). */
const peers = `
const net = require('node:net');
const block = Buffer.alloc(65536);
net.createServer((socket) => socket.on('error', () => {}).resume()).listen(9, '0.0.0.0');
net.createServer((socket) => {
  const push = () => { while (socket.write(block)); };
  socket.on('error', () => {}).on('drain', push);
  push();
}).listen(19, '0.0.0.0');
`;

export async function startPeers({ network: { outside } }: Networked): Promise<void> {
  outside.start(process.execPath, '-e', peers);
  await outside.run('sh', '-c', 'until ss -Hltn | grep -q :19; do sleep 0.05; done');
}

const outside = '192.0.2.2';

/** Starts `nc` in the guest and lets it run for what is measured meanwhile; waits for the first burst to be over. */
async function whileStreaming<T>(
  net: Networked,
  guest: string,
  port: 9 | 19,
  measure: () => Promise<T>,
): Promise<T> {
  const stream = port === 9 ? '</dev/zero >/dev/null' : '>/dev/null';
  const keepOpen = port === 19 ? 'sleep 3600 |' : '';
  await net.sh(
    guest,
    `(${keepOpen} nc ${outside} ${port} ${stream} 2>&1 & echo $! >/tmp/nc) </dev/null >/dev/null 2>&1; sleep 1`,
  );
  try {
    return await measure();
  } finally {
    await net.sh(guest, 'killall nc sleep; true');
  }
}

/** Bytes a second from the guest, as the interface at the other end counts them. */
export async function egressRate(net: Networked, guest: string, seconds = 3): Promise<number> {
  return await whileStreaming(net, guest, 9, () => arrived(net, 'bytes', seconds));
}

/**
 * Packets a second from the guest, or towards it, while it sends some 800 and is sent as many: those that arrive at the other end, or at its own card.
 */
export async function packetRate(
  net: Networked,
  guest: string,
  way: 'egress' | 'ingress',
  seconds = 3,
): Promise<number> {
  const flood = Array.from({ length: 8 }, () => `ping -q -i 0.01 ${outside} &`).join(' ');
  await net.sh(guest, `(${flood}) </dev/null >/dev/null 2>&1; sleep 1`);
  try {
    if (way === 'egress') return await arrived(net, 'packets', seconds);
    const now = "$(cat /sys/class/net/eth0/statistics/rx_packets) $(cut -d' ' -f1 /proc/uptime)";
    const { text } = await net.sh(guest, `a="${now}"; sleep ${seconds}; echo $a ${now}`, seconds + 30);
    return perSecond(text);
  } finally {
    await net.sh(guest, 'killall ping; true');
  }
}

/** Of two counters and two times, as a guest has written them. */
function perSecond(text: string): number {
  const [count = 0, at = 0, countThen = 0, then = 0] = text.split(' ').map(Number);
  return (countThen - count) / (then - at);
}

/** What a second brings to the other end of the wire, as its interface counts it. */
async function arrived(net: Networked, unit: 'bytes' | 'packets', seconds: number): Promise<number> {
  const count = async (): Promise<{ units: number; ms: number }> => {
    const [link] = JSON.parse(await net.network.outside.run('ip', '-s', '-j', 'link', 'show', 'dev', 'up1'));
    return { units: Number(link.stats64.rx[unit]), ms: performance.now() };
  };
  const before = await count();
  await net.network.outside.run('sleep', String(seconds));
  const after = await count();
  return (after.units - before.units) / ((after.ms - before.ms) / 1000);
}

/** Bytes a second towards the guest, as its own card counts them, by its own clock. */
export async function ingressRate(net: Networked, guest: string, seconds = 3): Promise<number> {
  const now = "$(cat /sys/class/net/eth0/statistics/rx_bytes) $(cut -d' ' -f1 /proc/uptime)";
  return await whileStreaming(net, guest, 19, async () => {
    const { text } = await net.sh(guest, `a="${now}"; sleep ${seconds}; echo $a ${now}`, seconds + 30);
    return perSecond(text);
  });
}
