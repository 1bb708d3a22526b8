// wirtd in a network namespace of the test's own, with the bridge driver, and guests that are asked over their agents.
import type { Instance, InstanceUpdate, Network, NicCreate } from '@wirt/api';
import { type DaemonOptions, type PartialCreate, startDaemon, type TestDaemon } from './daemon.ts';
import { type TestNetwork, testNetwork } from './namespace.ts';
import { wirt } from './wirt.ts';

type NicInput = Partial<NicCreate>;

export interface Networked extends AsyncDisposable {
  readonly daemon: TestDaemon;
  readonly network: TestNetwork;
  /** What `daemon.start` is to be given after a kill. */
  readonly options: DaemonOptions;
  /** Runs a guest until it has its addresses. */
  guest(name: string, nics?: readonly NicInput[], more?: PartialCreate): Promise<Instance>;
  instance(name: string): Promise<Instance>;
  networkOf(name: string): Promise<Network>;
  /** Runs a shell line in a guest and gives exit status and what it wrote. */
  sh(guest: string, line: string, timeoutSeconds?: number): Promise<{ exitCode: number; text: string }>;
  /** Until a guest's kernel has taken up a card that was plugged into it; throws when it does not. */
  hasCard(guest: string, mac: string): Promise<void>;
  /** Changes an instance, as `wirt set` does. */
  set(name: string, spec: NonNullable<InstanceUpdate['spec']>): Promise<Instance>;
  /** The command of people; throws when it fails. */
  cli(...args: string[]): Promise<string>;
  /** Removes every instance and every network. */
  clear(): Promise<void>;
  /** Removes them, ends wirtd and the namespaces, and tells what was left on the host before that: nothing. */
  end(): Promise<string[]>;
  /** The first card's IPv4 address, from the record. */
  address(name: string): Promise<string>;
}

export async function networked(more: DaemonOptions = {}): Promise<Networked> {
  await using held = new AsyncDisposableStack();
  const network = held.use(await testNetwork());
  const options: DaemonOptions = {
    ...more,
    under: network.inside.enter,
    args: ['--network-driver', 'bridge', ...(more.args ?? [])],
  };
  const daemon = held.use(await startDaemon(options));
  const { client } = daemon;
  const kept = held.move();
  const instance = (name: string) =>
    client.call('GET /v1/instances/{instance}', { params: { instance: name } });
  const sh: Networked['sh'] = async (name, line, timeoutSeconds = 30) => {
    const answer = await client.call('POST /v1/instances/{instance}/exec', {
      params: { instance: name },
      body: { argv: ['/bin/sh', '-c', `${line} 2>&1`], timeoutSeconds },
    });
    return { exitCode: answer.exitCode ?? -1, text: Buffer.from(answer.stdout, 'base64').toString().trim() };
  };
  const cli: Networked['cli'] = async (...args) => {
    const { exitCode, stdout, stderr } = await wirt(daemon.socket, args);
    if (exitCode !== 0) throw new Error(`wirt ${args.join(' ')} ended with ${exitCode}: ${stderr}${stdout}`);
    return stdout;
  };
  const clear = async (): Promise<void> => {
    for (const { name } of (await client.call('GET /v1/instances', {})).items)
      await cli('rm', '--force', name);
    for (const { name } of (await client.call('GET /v1/networks', {})).items)
      await cli('network', 'rm', name);
  };
  return {
    daemon,
    network,
    options,
    instance,
    networkOf: (name) => client.call('GET /v1/networks/{network}', { params: { network: name } }),
    guest: async (name, nics, create = {}) => {
      const spec = { image: 'micro', memoryMib: 96, ...(nics === undefined ? {} : { nics: [...nics] }) };
      await client.call('POST /v1/instances', {
        body: { name, start: true, ...create, spec: { ...spec, ...create.spec } },
        query: { wait: 'ready', waitSeconds: 120 },
      });
      // The agent may answer before the card has its address.
      if (nics === undefined || nics.length > 0) {
        const up =
          'for i in $(seq 100); do ip -4 -o addr show eth0 | grep -q inet && exit; usleep 100000; done; exit 1';
        // A machine that others work on too takes its time for a hundred looks.
        const { exitCode } = await sh(name, up, 120);
        if (exitCode !== 0) throw new Error(`guest ${name} has got no address`);
      }
      return instance(name);
    },
    sh,
    set: (name, spec) =>
      client.call('PATCH /v1/instances/{instance}', { params: { instance: name }, body: { spec } }),
    hasCard: async (name, mac) => {
      const line = `for i in $(seq 100); do grep -q ${mac} /sys/class/net/*/address && exit; usleep 100000; done; exit 1`;
      const { exitCode } = await sh(name, line);
      if (exitCode !== 0) throw new Error(`guest ${name} has no card ${mac}`);
    },
    cli,
    clear,
    end: async () => {
      try {
        await clear();
        return [...(await network.remains()), ...(await daemon.remains())];
      } finally {
        await kept.disposeAsync();
      }
    },
    address: async (name) => {
      const address = (await instance(name)).spec.nics[0]?.ipv4;
      if (address === undefined) throw new Error(`${name} has no IPv4 address`);
      return address;
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}
