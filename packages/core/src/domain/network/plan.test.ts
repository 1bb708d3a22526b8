import type { Instance, Network, SecurityGroup } from '@wirt/api';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { generationOf, planNetworks } from './plan.ts';

const head = { project: 'default', labels: {}, revision: 1, createdAt: '2030-01-01T00:00:00.000Z' };
const lan: Network = {
  ...head,
  id: 'N',
  name: 'lan',
  spec: { kind: 'nat', ipv4: '10.80.0.0/24', ipv6: null, mtu: 1400, domain: 'wirt', dnsForward: true },
  status: { driver: 'bridge', state: 'ready', gateways: [] },
};
const groups: SecurityGroup[] = [
  {
    ...head,
    id: 'G',
    name: 'default',
    spec: { description: '', rules: [{ id: 'R', direction: 'ingress', protocol: 'any', group: 'default' }] },
    status: { members: 0 },
  },
];

function instance(id: string, project = 'default'): Instance {
  const nic = {
    name: 'nic0',
    slot: 0,
    network: 'lan',
    mac: '02:00:00:00:00:01',
    ipv4: '10.80.0.2',
    model: 'virtio',
    securityGroups: ['default', 'gone'],
    publish: [{ protocol: 'tcp', hostPort: 8080, guestPort: 80 }],
    antiSpoofing: true,
  } as const;
  return {
    ...head,
    project,
    id,
    name: `guest-${id.toLowerCase()}`,
    spec: {
      cpus: 4,
      memoryMib: 64,
      machine: 'q35',
      accelerator: 'auto',
      nics: [{ ...nic, securityGroups: [...nic.securityGroups], publish: [...nic.publish] }],
      disks: [],
      metadata: { enabled: true, tokens: 'required', hopLimit: 3 },
      restart: 'never',
      autostart: false,
      overcommit: false,
    },
    status: { state: 'running', since: head.createdAt, agent: false, restarts: 0 },
  };
}

const owner = { uid: 7, gid: 7 };

describe('the plan of a host’s networking', () => {
  it('has the cards of those that are plugged, and of nobody else', () => {
    const records = {
      networks: [lan],
      groups,
      instances: [instance('A'), instance('B'), instance('C', 'other')],
      policies: [],
    };
    const plan = planNetworks(records, (id) => (id === 'B' ? undefined : { owner, forwards: [] }), 0);
    expect(plan.ports).toEqual([
      {
        instance: 'A',
        nic: 'nic0',
        network: 'N',
        hostname: 'guest-a',
        mac: '02:00:00:00:00:01',
        ipv4: '10.80.0.2',
        groups: ['G'],
        publish: [{ protocol: 'tcp', hostPort: 8080, guestPort: 80 }],
        antiSpoofing: true,
        queues: 4,
        mtu: 1400,
        metadataHopLimit: 3,
        owner,
      },
    ]);
    expect(plan.networks).toEqual([
      {
        id: 'N',
        name: 'lan',
        kind: 'nat',
        mtu: 1400,
        domain: 'wirt',
        dnsForward: true,
        ipv4: { subnet: '10.80.0.0/24', gateway: '10.80.0.1' },
      },
    ]);
    expect(plan.groups[0]?.rules[0]).toMatchObject({ group: 'default', groupId: 'G' });
  });

  it('is the same for the same records', () => {
    const records = () => ({
      networks: [lan],
      groups,
      instances: [instance('A'), instance('B')],
      policies: [],
    });
    const plan = () => planNetworks(records(), () => ({ owner, forwards: [] }), 5);
    expect(plan()).toEqual(plan());
  });

  it('has a generation of 1 to 4095, which is another one for each of 4095 cuts', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 4094 }), (cuts, more) => {
        expect(generationOf(cuts)).toBeGreaterThanOrEqual(1);
        expect(generationOf(cuts)).toBeLessThanOrEqual(4095);
        expect(generationOf(cuts + more)).not.toBe(generationOf(cuts));
      }),
    );
  });
});
