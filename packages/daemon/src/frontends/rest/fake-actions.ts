/** Actions for the door's own tests: every action fails unless the test gives it, so that nothing is called by chance. */
import type { Image, Instance, Operation } from '@wirt/api';
import type { Actions } from '@wirt/core';

export type Given = { readonly [Noun in keyof Actions]?: Partial<Actions[Noun]> };

function noun<T extends object>(name: string, given: Partial<T> | undefined): T {
  return new Proxy((given ?? {}) as T, {
    get(target, action) {
      const found: unknown = Reflect.get(target, action);
      if (found !== undefined) return found;
      return () => {
        throw new Error(`The test did not expect ${name}.${String(action)}.`);
      };
    },
  });
}

export function fakeActions(given: Given): Actions {
  return {
    instance: noun('instance', given.instance),
    guest: noun('guest', given.guest),
    disk: noun('disk', given.disk),
    nic: noun('nic', given.nic),
    network: noun('network', given.network),
    securityGroup: noun('securityGroup', given.securityGroup),
    snapshot: noun('snapshot', given.snapshot),
    volume: noun('volume', given.volume),
    policy: noun('policy', given.policy),
    usage: noun('usage', given.usage),
    pool: noun('pool', given.pool),
    image: noun('image', given.image),
    transfer: noun('transfer', given.transfer),
    operation: noun('operation', given.operation),
    event: noun('event', given.event),
    host: noun('host', given.host),
    device: noun('device', given.device),
    metadata: noun('metadata', given.metadata),
  };
}

export const someId = '01JD0000000000000000000000';
const at = '2026-11-22T06:00:00.000Z';

export const someInstance: Instance = {
  id: someId,
  name: 'demo',
  project: 'default',
  labels: { tier: 'web' },
  revision: 7,
  createdAt: at,
  spec: {
    image: 'micro',
    cpus: 1,
    memoryMib: 256,
    machine: 'q35',
    accelerator: 'auto',
    nics: [
      {
        name: 'nic0',
        slot: 0,
        network: 'default',
        mac: '02:00:00:00:00:01',
        model: 'virtio',
        securityGroups: ['default'],
        publish: [],
        antiSpoofing: true,
      },
    ],
    metadata: { enabled: true, tokens: 'required', hopLimit: 1 },
    disks: [],
    restart: 'never',
    autostart: false,
    overcommit: false,
  },
  status: { state: 'running', since: at, agent: true, restarts: 0 },
};

export const someOperation: Operation = {
  id: '01JD0000000000000000000001',
  kind: 'instance.create',
  project: 'default',
  target: { kind: 'instance', id: someId, name: 'demo' },
  state: 'running',
  stage: 'spawn',
  cancellable: true,
  requestedBy: 'socket',
  input: {},
  createdAt: at,
  revision: 8,
};

export const someImage: Image = {
  id: someId,
  name: 'micro',
  project: 'default',
  labels: {},
  revision: 3,
  createdAt: at,
  spec: { recipe: 'micro', format: 'kernel' },
  status: { state: 'ready' },
};
