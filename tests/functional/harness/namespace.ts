// A network of its own for a test's wirtd: a namespace with an uplink to a second one, "outside", where servers and clients are.
// Nothing of the host's own network is touched. Entered with nsenter and not `ip netns exec`, which would hide the control groups.
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFile, rmdir } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);
const commandMs = 20_000;

export const uplink = { inside: '192.0.2.1', outside: '192.0.2.2', interface: 'up0' } as const;

export interface Place {
  /** The words before a command that is to run there. */
  readonly enter: readonly string[];
  /** Runs a command there and gives its standard output; throws when it fails. */
  run(...argv: [string, ...string[]]): Promise<string>;
  /** Starts a command there that ends with the test. */
  start(...argv: [string, ...string[]]): void;
}

export interface TestNetwork extends AsyncDisposable {
  /** Where wirtd is. */
  readonly inside: Place;
  readonly outside: Place;
  /** What the namespace of wirtd has beside its uplink: interfaces, nftables, forwarding, other routes. Empty when it is as it was made. */
  remains(): Promise<string[]>;
}

function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

async function isMounted(): Promise<boolean> {
  return (await readFile('/proc/self/mountinfo', 'utf8')).includes(' /run/netns ');
}

function place(name: string, held: AsyncDisposableStack): Place {
  const enter = ['nsenter', `--net=/run/netns/${name}`];
  return {
    enter,
    run: async (...argv) => (await run('nsenter', [enter[1] ?? '', ...argv], { timeout: commandMs })).stdout,
    start: (...argv) => {
      const child = spawn('nsenter', [enter[1] ?? '', ...argv], { stdio: 'ignore' });
      held.defer(() => void child.kill('SIGKILL'));
    },
  };
}

export async function testNetwork(): Promise<TestNetwork> {
  const held = new AsyncDisposableStack();
  const tail = randomBytes(4).toString('hex');
  const [here, there] = [`wirt-in-${tail}`, `wirt-out-${tail}`];
  const wasMounted = await isMounted();
  held.defer(async () => {
    if (wasMounted) return;
    // `ip netns add` has mounted it for the first one.
    await run('umount', ['/run/netns']).catch(() => undefined);
    await rmdir('/run/netns').catch(() => undefined);
  });
  for (const name of [here, there]) {
    await run('ip', ['netns', 'add', name]);
    held.defer(async () => {
      // dnsmasq and guests outlive a wirtd that is killed.
      const { stdout } = await run('ip', ['netns', 'pids', name]);
      for (const pid of stdout.split('\n').filter(Boolean)) end(Number(pid));
      await run('ip', ['netns', 'del', name]);
    });
  }
  const inside = place(here, held);
  const outside = place(there, held);
  await inside.run('ip', 'link', 'set', 'lo', 'up');
  await outside.run('ip', 'link', 'set', 'lo', 'up');
  await inside.run(
    'ip',
    'link',
    'add',
    uplink.interface,
    'type',
    'veth',
    'peer',
    'name',
    'up1',
    'netns',
    there,
  );
  await inside.run('ip', 'addr', 'add', `${uplink.inside}/24`, 'dev', uplink.interface);
  await outside.run('ip', 'addr', 'add', `${uplink.outside}/24`, 'dev', 'up1');
  await inside.run('ip', 'link', 'set', uplink.interface, 'up');
  await outside.run('ip', 'link', 'set', 'up1', 'up');
  await inside.run('ip', 'route', 'add', 'default', 'via', uplink.outside);
  const before = await state(inside);
  return {
    inside,
    outside,
    remains: async () => (await state(inside)).filter((line) => !before.includes(line)),
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

async function state(inside: Place): Promise<string[]> {
  const links = JSON.parse(await inside.run('ip', '-j', 'link')) as { ifname: string }[];
  const rules = await inside.run('nft', 'list', 'ruleset');
  const routes = await inside.run('ip', 'route');
  const forwarding = await inside.run('sysctl', '-n', 'net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding');
  return [
    ...links.map(({ ifname }) => `interface ${ifname}`),
    ...rules.split('\n').filter((line) => line.startsWith('table')),
    ...routes.split('\n').map((line) => `route ${line.trim()}`),
    `forwarding ${forwarding.trim().replace('\n', ' ')}`,
  ];
}
