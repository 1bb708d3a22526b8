// What QEMU is to be told, from records.
import type { Image, Instance } from '@wirt/api';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ec2Uuid, uuidOf } from './identity.ts';
import { loopbackOf, type PlanParts, planLaunch } from './launch-plan.ts';

const id = '01J0000000000000000000ABCD';
const head = { id, project: 'default', labels: {}, revision: 1, createdAt: '2030-01-01T00:00:00.000Z' };

function instanceWith(spec: Partial<Instance['spec']>): Instance {
  const whole = {
    cpus: 2,
    memoryMib: 512,
    machine: 'q35',
    accelerator: 'auto',
    nics: [],
    metadata: { enabled: true, tokens: 'required', hopLimit: 1 },
    disks: [],
    restart: 'never',
    autostart: false,
    overcommit: false,
    ...spec,
  } as const satisfies Instance['spec'];
  const status = { state: 'stopped', since: head.createdAt, agent: false, restarts: 0 } as const;
  return { ...head, name: 'web', spec: whole, status };
}

const kernel: Image = {
  ...head,
  name: 'micro',
  spec: { format: 'kernel' },
  status: { state: 'ready', kernel: 'vmlinuz', initrd: 'initrd', kernelArgs: 'quiet' },
};
const disk: Image = { ...head, name: 'debian', spec: { format: 'qcow2' }, status: { state: 'ready' } };

const parts: PlanParts = {
  image: undefined,
  accelerator: 'tcg',
  nics: [],
  disks: [],
  firmware: { kind: 'bios' },
  freePageReporting: false,
  placement: undefined,
  mergeable: false,
  pathOf: (file) => `/images/${file}`,
};

describe('a plan', () => {
  it('takes the processor that the accelerator offers, or the one asked for', () => {
    expect(planLaunch(instanceWith({}), parts).cpuModel).toBe('max');
    expect(planLaunch(instanceWith({}), { ...parts, accelerator: 'kvm' }).cpuModel).toBe('host');
    expect(planLaunch(instanceWith({ cpuModel: 'EPYC' }), parts).cpuModel).toBe('EPYC');
  });

  it('numbers the generation by what the first disk writes, so that a return to a snapshot is seen', () => {
    const written = '01J0000000000000000000WXYZ';
    const layer = (name: string) => ({
      layer: name,
      format: 'qcow2' as const,
      location: { driver: 'file' as const, path: `/pool/${name}` },
      direct: true,
    });
    const root = {
      name: 'root',
      device: 'disk',
      bus: 'virtio',
      readOnly: false,
      serial: 'root',
      slot: 0,
    } as const;
    const seed = { ...root, name: 'seed', device: 'cdrom', source: { layers: [layer('seed')] } } as const;
    const disks = [seed, { ...root, source: { layers: [layer('base'), layer(written)] } }];
    expect(planLaunch(instanceWith({}), { ...parts, disks }).generation).toBe(uuidOf(written));
    expect(planLaunch(instanceWith({}), parts).generation).toBe(uuidOf(id));
  });

  it('tells the guest that it is in EC2 only where it is to ask the metadata service', () => {
    const told = { hostname: 'web', sshKeys: [], password: false, userData: true, networkConfig: false };
    const plan = (datasource: 'seed' | 'metadata') =>
      planLaunch(instanceWith({ cloudInit: { ...told, datasource } }), parts);
    expect(plan('metadata')).toMatchObject({ uuid: ec2Uuid(uuidOf(id)), serial: ec2Uuid(uuidOf(id)) });
    expect(plan('seed').uuid).toBe(uuidOf(id));
    expect(plan('seed').serial).toBeUndefined();
  });

  it('gives a kernel to the guest only from an image that is one', () => {
    expect(planLaunch(instanceWith({}), { ...parts, image: kernel }).kernel).toEqual({
      kernel: '/images/vmlinuz',
      initrd: '/images/initrd',
      kernelArgs: 'quiet',
    });
    expect(planLaunch(instanceWith({}), { ...parts, image: disk }).kernel).toBeUndefined();
  });
});

describe('the address of a guest on this machine', () => {
  it('is one of 127/8 that is neither the network’s, nor localhost, nor the broadcast', () => {
    fc.assert(
      fc.property(fc.nat({ max: 0xffffffff }), fc.boolean(), (uid, own) => {
        const address = loopbackOf(id, { uid, own });
        const [first, ...rest] = address.split('.').map(Number);
        expect(first).toBe(127);
        expect(rest.every((part) => part >= 0 && part <= 255)).toBe(true);
        expect(['127.0.0.0', '127.0.0.1', '127.255.255.255']).not.toContain(address);
      }),
    );
  });

  it('differs for every uid of a range', () => {
    const addresses = Array.from({ length: 1000 }, (_, index) =>
      loopbackOf(id, { uid: 700_000 + index, own: true }),
    );
    expect(new Set(addresses).size).toBe(1000);
  });
});
