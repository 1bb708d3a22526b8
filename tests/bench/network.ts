// Networks: what a card adds to a start, how long a changed rule takes, and how fast two guests of Wirt talk, beside the same two
// guests on a bare bridge made by hand. All in network namespaces of the bench's own.
import { execFile, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { agentExec } from '@wirt/qemu';
import { cloneRoot } from '../functional/harness/daemon.ts';
import { testNetwork } from '../functional/harness/namespace.ts';
import { type Networked, networked } from '../functional/harness/networked.ts';
import { bootedAgent, killed } from './by-hand.ts';
import { type Figure, median, ms, timeMs } from './measure.ts';

const starts = 15;
const rounds = 5;
const sentMib = 512;
const ruleChangeMs = 300_000;
const done = { wait: 'done' } as const;

export async function network(): Promise<Figure[]> {
  await using net = await networked();
  return [await cardOfStart(net), await throughput(net), await ruleChange()];
}

/** In a process and namespaces of its own, which all of it ends with: records, taps and nftables are real, guests are not. */
async function ruleChange(): Promise<Figure> {
  const script = join(cloneRoot, 'packages/daemon/src/rule-change.fixture.ts');
  const own = ['--net', '--pid', '--mount-proc', '--fork', '--kill-child'];
  const { stdout } = await promisify(execFile)('unshare', [...own, process.execPath, script], {
    timeout: ruleChangeMs,
  });
  const told = JSON.parse(stdout) as { guests: number; addedMs: number; removedMs: number };
  return {
    name: `a changed rule, where ${told.guests} guests run`,
    measured: `${ms(told.addedMs)} for one more, ${ms(told.removedMs)} for one less`,
    promised: '≤ 100 ms',
    holds: Math.max(told.addedMs, told.removedMs) <= 100,
  };
}

/** Starts without a card and with one on a network that is there, by turns. */
async function cardOfStart({ daemon }: Networked): Promise<Figure> {
  const { client } = daemon;
  const start = async (name: string, nics: readonly object[]): Promise<number> => {
    const spec = { image: 'micro', memoryMib: 64, nics: [...nics] };
    await client.call('POST /v1/instances', { body: { name, spec }, query: done });
    const params = { instance: name };
    const took = await timeMs(() =>
      client.call('POST /v1/instances/{instance}/start', { params, body: {}, query: done }),
    );
    await client.call('DELETE /v1/instances/{instance}', { params, query: { force: 'true', ...done } });
    return took;
  };
  await start('warm', [{}]);
  const without: number[] = [];
  const withCard: number[] = [];
  for (let number = 0; number < starts; number += 1) {
    without.push(await start(`without-${number}`, []));
    withCard.push(await start(`with-${number}`, [{}]));
  }
  const [bareMs, cardMs] = [without, withCard].map((all) => median(all.sort((a, b) => a - b))) as [
    number,
    number,
  ];
  return {
    name: 'start with a card, against one without',
    measured: `${ms(cardMs)} against ${ms(bareMs)} (+ ${ms(cardMs - bareMs)})`,
    promised: '+ ≤ 15 ms',
    holds: cardMs - bareMs <= 15,
  };
}

type Guest = (line: string) => Promise<string>;

interface Pair {
  readonly from: Guest;
  readonly to: Guest;
  readonly address: string;
}

async function throughput(net: Networked): Promise<Figure> {
  await net.guest('from');
  const to = await net.guest('to');
  const sh =
    (name: string): Guest =>
    async (line) => {
      const { exitCode, text } = await net.sh(name, line, 120);
      if (exitCode !== 0) throw new Error(`${line}: ${text}`);
      return text;
    };
  const own: Pair = { from: sh('from'), to: sh('to'), address: await net.address('to') };
  await using bare = await barePair(to.status.process?.pid ?? 0);
  await Promise.all([serveZeros(own.to), serveZeros(bare.to)]);
  const byWirt: number[] = [];
  const byHand: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    byWirt.push(await mibPerSecond(own));
    byHand.push(await mibPerSecond(bare));
  }
  const [wirt, hand] = [byWirt, byHand].map((all) => median(all.sort((a, b) => a - b))) as [number, number];
  return {
    name: 'guest to guest, TCP',
    measured: `${wirt.toFixed(0)} MiB/s (${(wirt / hand).toFixed(2)} × a bare bridge, ${hand.toFixed(0)} MiB/s)`,
    promised: '≥ 0.97 ×',
    holds: wirt >= 0.97 * hand,
  };
}

/** A file of nothing but holes, by HTTP: whether all of it came is checked by its length. */
async function serveZeros(guest: Guest): Promise<void> {
  await guest(`mount -t tmpfs zeros /mnt && truncate -s ${sentMib}M /mnt/zeros && httpd -p 9000 -h /mnt`);
}

async function mibPerSecond({ from, address }: Pair): Promise<number> {
  const took = await timeMs(() => from(`wget -q -O /dev/null http://${address}:9000/zeros`));
  return sentMib / (took / 1000);
}

/** Two guests with the command line of a running one, on taps of a bridge without any rules, in a namespace of their own. */
async function barePair(pid: number): Promise<Pair & AsyncDisposable> {
  await using held = new AsyncDisposableStack();
  const place = held.use(await testNetwork());
  const directory = await mkdtemp(join(tmpdir(), 'wirt-bare-'));
  held.defer(() => rm(directory, { recursive: true, force: true }));
  await place.inside.run('ip', 'link', 'add', 'bare0', 'type', 'bridge');
  await place.inside.run('ip', 'link', 'set', 'bare0', 'up');
  const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0').slice(0, -1);
  const guests: Guest[] = [];
  for (const number of [1, 2]) {
    const tap = `bare${number}`;
    await place.inside.run('ip', 'tuntap', 'add', tap, 'mode', 'tap');
    await place.inside.run('ip', 'link', 'set', tap, 'master', 'bare0', 'up');
    const agentPath = join(directory, `agent${number}.sock`);
    const argv = words.map((word) =>
      word
        .replace(/(socket,id=(\w+)),fd=\d+/, (_, head: string, id: string) =>
          id.startsWith('agent')
            ? `${head},path=${agentPath}`
            : `${head},path=${join(directory, `${id}-${number}.sock`)}`,
        )
        .replace(/"ifname":"\w+"/, `"ifname":"${tap}"`)
        .replace(/"mac":"[0-9a-f:]+"/, `"mac":"02:00:00:00:be:0${number}"`),
    );
    const child = spawn(
      'nsenter',
      [...place.inside.enter.slice(1), ...argv.filter((word) => word !== '-S')],
      {
        stdio: 'ignore',
      },
    );
    held.defer(() => killed(child));
    const agent = await bootedAgent(agentPath, 60_000);
    held.defer(() => agent.close());
    const sh: Guest = async (line) => {
      const result = await agentExec(agent, { argv: ['/bin/sh', '-c', `${line} 2>&1`], timeoutMs: 120_000 });
      if (result.exitCode !== 0) throw new Error(`${line}: ${result.stdout.toString()}`);
      return result.stdout.toString();
    };
    await sh(
      `echo "#!/bin/sh" >/etc/udhcpc.script; ip link set eth0 up; ip addr flush dev eth0; ip addr add 10.99.0.${number}/24 dev eth0`,
    );
    guests.push(sh);
  }
  const kept = held.move();
  const [from, to] = guests as [Guest, Guest];
  return { from, to, address: '10.99.0.2', [Symbol.asyncDispose]: () => kept.disposeAsync() };
}
