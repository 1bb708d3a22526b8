/**
 * For the bench: how long it takes until a changed rule is in force where 1,000 guests run. Records in the real store, nftables and taps of the
 * real driver; the guests are in memory. Run it in a network namespace of its own; it prints one line of JSON and leaves nothing.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { networkCreateSchema, nicCreateSchema, securityGroupCreateSchema } from '@wirt/api';
import { emptyNetworkPlan } from '@wirt/core';
import { createFakeCore } from '@wirt/core/fakes/fake-core';
import { createBridgeNetwork } from './drivers/network-bridge/network-bridge.ts';
import { openSqliteStore } from './drivers/store-sqlite/open.ts';

const guests = Number(process.argv[2] ?? 1000);
const rounds = 20;
const atOnce = 50;
const silent = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: (name: string, fields?: object) => process.stderr.write(`${name} ${JSON.stringify(fields)}\n`),
};

async function timeMs(work: () => Promise<unknown>): Promise<number> {
  const from = performance.now();
  await work();
  return performance.now() - from;
}

function median(all: readonly number[]): number {
  return all.toSorted((one, other) => one - other)[Math.floor(all.length / 2)] ?? Number.NaN;
}

await using held = new AsyncDisposableStack();
const directory = await mkdtemp(join(tmpdir(), 'wirt-rules-'));
held.defer(() => rm(directory, { recursive: true, force: true }));
const places = { runDirectory: join(directory, 'run'), stateDirectory: join(directory, 'state') };
const network = createBridgeNetwork({ tag: 'bench', ...places, logger: silent });
const store = await openSqliteStore({ directory: join(directory, 'store'), logger: silent });
held.use(store);
held.defer(() => network.apply(emptyNetworkPlan, AbortSignal.timeout(60_000)));
const { core, request } = await createFakeCore({ store, network });
held.defer(() => core.stop(AbortSignal.timeout(10_000)));
const { actions } = core;
const create = async (number: number): Promise<void> => {
  const nics = [nicCreateSchema.parse({ network: 'lab', securityGroups: ['web'] })];
  const fields = { project: 'default', labels: {}, start: true, startPaused: false };
  const spec = {
    image: 'micro',
    cpus: 1,
    memoryMib: 64,
    machine: 'q35',
    accelerator: 'auto',
    metadata: { enabled: true, tokens: 'required', hopLimit: 1 },
    disks: [],
    nics,
    restart: 'never',
    autostart: false,
    overcommit: true,
  } as const;
  const wait = { wait: 'done', waitSeconds: 600 } as const;
  await actions.instance.create(
    request,
    { ...fields, name: `guest-${number}`, spec: { ...spec, disks: [], nics } },
    wait,
  );
};

const lab = { name: 'lab', spec: { kind: 'nat', ipv4: '10.64.0.0/16', ipv6: 'fd64::/64' } };
await actions.network.create(request, networkCreateSchema.parse(lab));
await actions.securityGroup.create(request, securityGroupCreateSchema.parse({ name: 'web' }));
for (let first = 0; first < guests; first += atOnce)
  await Promise.all(
    Array.from({ length: Math.min(atOnce, guests - first) }, (_, index) => create(first + index)),
  );

const added: number[] = [];
const removed: number[] = [];
for (let round = 0; round < rounds; round += 1) {
  const rule = { direction: 'ingress', protocol: 'tcp', fromPort: 1000 + round } as const;
  let id = '';
  added.push(
    await timeMs(async () => {
      const { spec } = await actions.securityGroup.addRule(request, 'web', rule);
      id = spec.rules.find(({ fromPort }) => fromPort === rule.fromPort)?.id ?? '';
    }),
  );
  removed.push(await timeMs(() => actions.securityGroup.removeRule(request, 'web', id)));
}
const { status } = await actions.securityGroup.get('web');
process.stdout.write(
  `${JSON.stringify({ guests: status.members, addedMs: median(added), removedMs: median(removed) })}\n`,
);
