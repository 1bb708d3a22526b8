// Guests fitted to the hardware: processor and memory beside QEMU started by hand, with the best settings known and as virt-install makes it; what
// each profile does; and how long the planner takes. What a profile sets on the host is put back.
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Tuning } from '@wirt/api';
import { cloneRoot } from '../functional/harness/daemon.ts';
import { type Networked, networked } from '../functional/harness/networked.ts';
import { turnLoop } from '../functional/harness/truth.ts';
import { type GuestByHand, guestByHand } from './by-hand.ts';
import { type Figure, median, ms, percentile } from './measure.ts';

const run = promisify(execFile);
const boots = 6;
const rounds = 2;
const seconds = 3;
const knobs = [
  '/sys/kernel/mm/ksm/run',
  '/sys/kernel/mm/ksm/pages_to_scan',
  '/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages',
] as const;

export async function tuning(): Promise<Figure[]> {
  await using held = new AsyncDisposableStack();
  for (const knob of knobs) {
    const text = await readFile(knob, 'utf8');
    held.defer(() => writeFile(knob, text.trim()));
  }
  const figures = await decisions();
  {
    await using net = await networked({ args: ['--host-tuning', 'auto'] });
    figures.push(...(await speed(net)));
  }
  await using net = await networked({ args: ['--host-tuning', 'auto'] });
  return [...figures, await latency(net), await density(net)];
}

async function decisions(): Promise<Figure[]> {
  const script = join(cloneRoot, 'packages/daemon/src/placement-times.fixture.ts');
  const { stdout } = await run(process.execPath, [script]);
  const { guests, cpus, nodes, told } = JSON.parse(stdout) as {
    guests: number;
    cpus: number;
    nodes: number;
    told: Record<string, { kind: string; medianMs: number; worstMs: number }>;
  };
  return Object.entries(told).map(([name, { kind, medianMs, worstMs }]) => ({
    name: `a guest ${name}, ${nodes} nodes, ${cpus} processors, ${guests} guests`,
    measured: `${kind} in ${medianMs.toFixed(1)} ms, ${worstMs.toFixed(1)} ms at worst`,
    promised: '≤ 5 ms',
    holds: worstMs <= 5,
  }));
}

/** Shell lines that print how much was done, in a unit of their own. */
const work = {
  processor: turnLoop(seconds, 1),
  memory:
    '[ -e /tmp/x ] || dd if=/dev/urandom of=/tmp/x bs=1M count=96 2>/dev/null; ' +
    `s=\${EPOCHREALTIME/./}; e=$((s+${seconds}000000)); n=0; ` +
    'while [ ${EPOCHREALTIME/./} -lt $e ]; do cat /tmp/x /tmp/x >/dev/null; n=$((n+2)); done; ' +
    't=${EPOCHREALTIME/./}; echo $((n*96000000/(t-s)))',
} as const;

type Contender = (line: string) => Promise<number>;
type Speeds = Record<keyof typeof work, Record<'wirt' | 'best' | 'defaults', number[]>>;

/** Where a process's memory and code happen to lie makes it a few per cent faster or slower for its whole life: several of each are compared. */
async function speed(net: Networked): Promise<Figure[]> {
  const none = () => ({ wirt: [], best: [], defaults: [] });
  const speeds: Speeds = { processor: none(), memory: none() };
  for (let boot = 0; boot < boots; boot += 1) await bootAndMeasure(net, speeds);
  return Object.entries(speeds).map(([what, all]) => {
    const of = (name: keyof typeof all): number => median(all[name].sort((a, b) => a - b));
    const ratio = of('wirt') / of('best');
    return {
      name: `a guest’s ${what}`,
      measured: `${ratio.toFixed(3)} × best by hand, ${(of('wirt') / of('defaults')).toFixed(3)} × virt-install`,
      promised: '≥ 0.98 × best by hand',
      holds: ratio >= 0.98,
    };
  });
}

async function bootAndMeasure(net: Networked, speeds: Speeds): Promise<void> {
  await net.guest('wirt', [], { spec: { image: 'micro', memoryMib: 256, cpus: 2 } });
  const pid = (await net.instance('wirt')).status.process?.pid ?? 0;
  const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0');
  const kernel = ['-kernel', '-initrd', '-append'].flatMap((name) => [
    name,
    words[words.indexOf(name) + 1] ?? '',
  ]);
  const best = ['-object', 'memory-backend-ram,id=ram0,size=256M,prealloc=on', '-cpu', 'max'];
  await using hand = await handGuest([...kernel, ...best, '-machine', 'q35,memory-backend=ram0']);
  await using plain = await handGuest([...kernel, '-machine', 'q35']);
  const contenders: Record<'wirt' | 'best' | 'defaults', Contender> = {
    wirt: async (line) => Number((await net.sh('wirt', line, 60)).text),
    best: async (line) => Number(await hand.sh(line)),
    defaults: async (line) => Number(await plain.sh(line)),
  };
  for (const what of ['processor', 'memory'] as const)
    for (let round = 0; round < rounds; round += 1)
      for (const name of ['wirt', 'best', 'defaults'] as const)
        speeds[what][name].push(await contenders[name](work[what]));
  await net.cli('rm', '--force', 'wirt');
}

function handGuest(own: readonly string[]): Promise<GuestByHand> {
  return guestByHand('agent.sock', (directory) => [
    ...own,
    ...['-accel', 'tcg,thread=multi', '-smp', '2', '-m', '256M'],
    ...['-nodefaults', '-no-user-config', '-display', 'none'],
    ...['-chardev', `socket,id=agent,path=${join(directory, 'agent.sock')},server=on,wait=off`],
    ...[
      '-device',
      'virtio-serial-pci',
      '-device',
      'virtserialport,chardev=agent,name=org.qemu.guest_agent.0',
    ],
  ]);
}

/** Naps of a millisecond, of which is told by how much each was late, in µs. */
const naps =
  'for i in $(seq 300); do s=${EPOCHREALTIME/./}; usleep 1000; echo $((${EPOCHREALTIME/./}-s-1000)); done';

/** How late a guest wakes up beside others that fill the host, on processors of its own and on shared ones. */
async function latency(net: Networked): Promise<Figure> {
  const late: Record<string, number> = {};
  for (const name of ['busy-1', 'busy-2', 'busy-3']) {
    await net.guest(name, [], { spec: { image: 'micro', memoryMib: 96 } });
    await net.sh(name, '(while :; do :; done) >/dev/null 2>&1 </dev/null &');
  }
  for (const profile of ['balanced', 'latency'] as const) {
    await net.guest(profile, [], {
      spec: { image: 'micro', memoryMib: 96, tuning: { profile } satisfies Tuning },
    });
    const { text } = await net.sh(profile, naps, 120);
    late[profile] = percentile(
      text
        .split('\n')
        .map(Number)
        .sort((a, b) => a - b),
      0.99,
    );
    await net.cli('rm', '--force', profile);
  }
  for (const name of ['busy-1', 'busy-2', 'busy-3']) await net.cli('rm', '--force', name);
  const { balanced = Number.NaN, latency: own = Number.NaN } = late;
  return {
    name: 'profile latency: waking up on a full host, p99',
    measured: `${ms(own / 1000)} late, ${ms(balanced / 1000)} with balanced`,
    promised: 'sooner',
    holds: own < balanced,
  };
}

/** Memory of the host that four guests alike take, when the kernel has had time to merge what is equal. */
async function density(net: Networked): Promise<Figure> {
  const taken: Record<string, number> = {};
  const names = ['one', 'two', 'three', 'four'];
  for (const profile of ['balanced', 'density'] as const) {
    for (const name of names) {
      await net.guest(name, [], {
        spec: { image: 'micro', memoryMib: 96, tuning: { profile } satisfies Tuning },
      });
      // The same in each.
      await net.sh(name, 'seq 1 4000000 | head -c 30000000 >/tmp/x');
    }
    if (profile === 'density') {
      // What it comes to, sooner than with the kernel's default.
      await writeFile('/sys/kernel/mm/ksm/pages_to_scan', '20000');
      await merged();
    }
    let sumKib = 0;
    for (const name of names) sumKib += await ownKib((await net.instance(name)).status.process?.pid ?? 0);
    taken[profile] = sumKib / 1024;
    for (const name of names) await net.cli('rm', '--force', name);
  }
  const { balanced = Number.NaN, density: dense = Number.NaN } = taken;
  return {
    name: 'profile density: memory of four guests alike',
    measured: `${Math.round(dense)} MiB, ${Math.round(balanced)} MiB with balanced`,
    promised: 'less',
    holds: dense < balanced,
  };
}

/** Until the kernel merges no more: less than a hundredth in 5 s, and something at all. */
async function merged(): Promise<void> {
  const sharing = async (): Promise<number> =>
    Number(await readFile('/sys/kernel/mm/ksm/pages_sharing', 'utf8'));
  for (let [look, before] = [0, 0]; look < 40; look += 1) {
    await run('sleep', ['5']);
    const now = await sharing();
    if (now > 0 && now - before < before / 100) return;
    before = now;
  }
}

/** A process’ part of the memory that it shares, of merged pages too (filesystems/proc.rst, "Pss" and "KSM"). */
async function ownKib(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8');
  return Number(/^Pss:\s+(\d+)/m.exec(text)?.[1]);
}
