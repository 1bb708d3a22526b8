// Quality of service: how near what a guest gets is to what was asked for, on every axis; how soon a change is in force; and that a guest
// without limits pays nothing for the machinery.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { InstanceUpdate } from '@wirt/api';
import { type Networked, networked } from '../functional/harness/networked.ts';
import {
  coresSeen,
  diskRate,
  egressRate,
  ingressRate,
  packetRate,
  shares,
  startPeers,
  turnLoop,
  turns,
} from '../functional/harness/truth.ts';
import { type GuestByHand, guestByHand } from './by-hand.ts';
import { type Figure, median, ms, timeMs } from './measure.ts';

type Limits = NonNullable<NonNullable<InstanceUpdate['spec']>['limits']>;

const mib = 2 ** 20;
const changes = 20;
const rounds = 5;

export async function qos(): Promise<Figure[]> {
  await using net = await networked();
  const data = {
    name: 'data',
    device: 'disk',
    bus: 'virtio',
    sizeBytes: 256 * mib,
    pool: 'default',
    format: 'raw',
    readOnly: false,
  } as const;
  await net.guest('one', undefined, { spec: { image: 'micro', memoryMib: 160, cpus: 2, disks: [data] } });
  const figures = [await unlimited(net), ...(await inForce(net))];
  await net.guest('two', undefined, { spec: { image: 'micro', memoryMib: 96 } });
  await startPeers(net);
  return [...figures, ...(await accuracy(net))];
}

const set = (net: Networked, name: string, limits: Limits) => net.set(name, { limits });

/** The same command line without Wirt, in no group of its own; by turns. */
async function unlimited(net: Networked): Promise<Figure> {
  const pid = (await net.instance('one')).status.process?.pid ?? 0;
  await using bare = await bareGuest(pid);
  const seconds = 4;
  const [own, hand]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round += 1) {
    own.push(await turns(net, 'one', seconds));
    hand.push(Number(await bare.sh(turnLoop(seconds, 1), (seconds + 60) * 1000)));
  }
  const ratio = median(own.sort((a, b) => a - b)) / median(hand.sort((a, b) => a - b));
  return {
    name: 'a guest without limits, its processor',
    measured: `${ratio.toFixed(3)} × bare QEMU`,
    promised: '≥ 0.98 ×',
    holds: ratio >= 0.98,
  };
}

/** Without its disks and cards, which are open already; the processor is what is compared. */
async function bareGuest(pid: number): Promise<GuestByHand> {
  const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0').slice(1, -1);
  return guestByHand('agent0.sock', (directory) => {
    const kept: string[] = [];
    for (let at = 0; at < words.length; at += 1) {
      const [word = '', next = ''] = [words[at], words[at + 1]];
      const isOfDisk = /"driver":"virtio-(blk|net)-pci"|"id":"(disk|nic|io)-/.test(next);
      if (['-netdev', '-blockdev', '-S'].includes(word) || (word === '-device' && isOfDisk)) {
        if (word !== '-S') at += 1;
        continue;
      }
      kept.push(
        word
          .replace(
            /(socket,id=(\w+)),fd=\d+/,
            (_, head: string, id: string) => `${head},path=${join(directory, `${id}.sock`)}`,
          )
          // The descriptor that it is made in is Wirt's. Private memory is what people take by hand, and has huge pages, too.
          .replace(
            /"memory-backend-file","mem-path":"[^"]*","align":\d+,"share":true/,
            '"memory-backend-ram"',
          ),
      );
    }
    return kept;
  });
}

/** From the request to the answer, which comes when the limit has been put in force and read back from where it acts. */
async function inForce(net: Networked): Promise<Figure[]> {
  const axes: Readonly<Record<string, (step: number) => Limits>> = {
    processor: (step) => ({ cpu: { cores: 0.5 + step / 100 } }),
    memory: (step) => ({ memory: { ceilingMib: 4000 + step } }),
    disk: (step) => ({ disk: { readBytes: { rate: (1 + step) * mib } } }),
    network: (step) => ({ eachNic: { egress: { bytesPerSecond: (1 + step) * mib } } }),
  };
  const figures: Figure[] = [];
  for (const [axis, of] of Object.entries(axes)) {
    const all: number[] = [];
    for (let step = 0; step < changes; step += 1) all.push(await timeMs(() => set(net, 'one', of(step))));
    const middle = median(all.sort((a, b) => a - b));
    figures.push({
      name: `a changed limit in force, ${axis}`,
      measured: ms(middle),
      promised: '≤ 200 ms',
      holds: middle <= 200,
    });
  }
  await set(net, 'one', { cpu: null, memory: null, disk: null, eachNic: null });
  return figures;
}

async function accuracy(net: Networked): Promise<Figure[]> {
  const figures: Figure[] = [];
  const row = (axis: string, wanted: number, got: number, unit: string): void => {
    const off = (got / wanted - 1) * 100;
    figures.push({
      name: `accuracy: ${axis}`,
      measured: `${wanted} asked, ${got.toFixed(2)} got ${unit} (${off > 0 ? '+' : ''}${off.toFixed(1)} %)`,
      promised: '± 10 %',
      holds: Math.abs(off) <= 10,
    });
  };
  for (const cores of [0.25, 0.5, 0.75]) {
    await set(net, 'two', { cpu: { cores } });
    row('processor limit', cores, await coresSeen(net, 'two', 5), 'cores');
  }
  await set(net, 'two', { cpu: { cores: null, weight: 100 } });
  await set(net, 'one', { cpu: { weight: 300 } });
  const [one, two] = await shares(net, ['one', 'two'], 8);
  row('processor weights, 300:100', 3, (one?.seconds ?? 0) / (two?.seconds ?? 0), ': 1');
  await set(net, 'one', { cpu: null });
  for (const way of ['read', 'write'] as const) {
    await set(net, 'one', { disk: { [`${way}Bytes`]: { rate: 8 * mib } } });
    row(`disk, ${way}`, 8, (await diskRate(net, 'one', { way, blockKib: 256, count: 160 })) / mib, 'MiB/s');
    await set(net, 'one', { disk: { [`${way}Bytes`]: null, [`${way}Operations`]: { rate: 200 } } });
    row(
      `disk, ${way}`,
      200,
      (await diskRate(net, 'one', { way, blockKib: 4, count: 1000 })) / 4096,
      'operations/s',
    );
    await set(net, 'one', { disk: null });
  }
  for (const [way, measure] of [
    ['egress', egressRate],
    ['ingress', ingressRate],
  ] as const) {
    for (const rate of [1, 8]) {
      await set(net, 'one', { eachNic: { [way]: { bytesPerSecond: rate * mib } } });
      row(`network, ${way}`, rate, (await measure(net, 'one', 4)) / mib, 'MiB/s');
    }
    await set(net, 'one', { eachNic: { [way]: { bytesPerSecond: null, packetsPerSecond: 200 } } });
    row(`network, ${way}`, 200, await packetRate(net, 'one', way), 'packets/s');
    await set(net, 'one', { eachNic: null });
  }
  return figures;
}
