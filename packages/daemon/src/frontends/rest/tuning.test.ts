import type { HostCapacity, HostSettingsUpdate, HostTopologyView, InstanceTuning } from '@wirt/api';
import { WirtError } from '@wirt/api';
import type { InjectOptions } from 'fastify';
import { describe, expect, it } from 'vitest';
import type { Given } from './fake-actions.ts';
import { openDoor } from './fake-door.ts';

async function ask(given: Given, options: InjectOptions) {
  const { app } = await openDoor(given);
  return app.inject(options);
}

const settings = { cpuOvercommit: 4, memoryOvercommit: 1.2, poolOvercommit: 20 };
const capacity: HostCapacity = {
  settings,
  cpus: { online: 2, promisable: 8, promised: 3, dedicated: '' },
  memory: {
    ...{ totalMib: 2048, availableMib: 1024, promisableMib: 2457 },
    ...{ promisedMib: 512, reservedMib: 0, hugePagesMib: 0 },
  },
  hugePages: [{ node: 0, sizeKib: 2048, total: 4, free: 2, promised: 2 }],
  pools: [
    {
      ...{ name: 'default', capacityBytes: 100, allocatedBytes: 10 },
      ...{ promisableBytes: 2000, promisedBytes: 50, runningBytes: 0 },
    },
  ],
};
const topology: HostTopologyView = {
  nodes: [
    {
      ...{ node: 0, cpus: '0-1', totalMib: 2048, freeMib: 1024 },
      distances: [{ node: 0, distance: 10 }],
      ...{ hugePages: [], instances: ['demo'] },
    },
  ],
  cpus: [
    { cpu: 0, node: 0, socket: 0, core: 0 },
    { cpu: 1, node: 0, socket: 0, core: 1, dedicatedTo: 'demo' },
  ],
};

describe('the routes of the host', () => {
  it('answer what is promised, and who is placed where', async () => {
    const host = { capacity: async () => capacity, topology: async () => topology };
    expect((await ask({ host }, { url: '/v1/host/capacity' })).json()).toEqual(capacity);
    expect((await ask({ host }, { url: '/v1/host/topology' })).json()).toEqual(topology);
    expect(
      (await ask({ host: { settings: async () => settings } }, { url: '/v1/host/settings' })).json(),
    ).toEqual(settings);
  });

  it('pass on only the settings that are named', async () => {
    const asked: HostSettingsUpdate[] = [];
    const updateSettings = async (_request: unknown, input: HostSettingsUpdate) => {
      asked.push(input);
      return settings;
    };
    const answer = await ask(
      { host: { updateSettings } },
      { method: 'PATCH', url: '/v1/host/settings', payload: { memoryOvercommit: 1.2 } },
    );
    expect([answer.statusCode, answer.json()]).toEqual([200, settings]);
    expect(asked).toEqual([{ memoryOvercommit: 1.2 }]);
  });

  it.each([{ cpuOvercommit: 0 }, { memoryOvercommit: 1001 }, { memoryOvercommit: '2' }])(
    'refuse the settings %j before any action',
    async (payload) => {
      const answer = await ask({}, { method: 'PATCH', url: '/v1/host/settings', payload });
      expect(answer.json()).toMatchObject({ status: 400, code: 'request.invalid' });
    },
  );

  it('refuse a setting that there is not', async () => {
    const answer = await ask({}, { method: 'PATCH', url: '/v1/host/settings', payload: { cpus: 4 } });
    expect(answer.json()).toMatchObject({ status: 400, code: 'request.unknown_field' });
  });
});

describe('the tuning of an instance', () => {
  const url = '/v1/instances/demo/tuning';

  it('is answered for the instance that the path names', async () => {
    const asked: string[] = [];
    const found: InstanceTuning = {
      ...{ instance: 'demo', running: true, profile: 'latency' },
      settings: [{ setting: 'hugepages', value: '2M', from: 'profile', why: 'It is so.', better: '1G' }],
    };
    const tuning = async (_request: unknown, ref: string) => {
      asked.push(ref);
      return found;
    };
    const answer = await ask({ instance: { tuning } }, { url });
    expect([answer.statusCode, answer.json(), asked]).toEqual([200, found, ['demo']]);
  });

  it('is refused as the action refuses it', async () => {
    const refusal = new WirtError('instance.not_found', 'There is no instance demo.');
    const answer = await ask({ instance: { tuning: () => Promise.reject(refusal) } }, { url });
    expect(answer.json()).toMatchObject({ status: 404, code: 'instance.not_found' });
  });
});
