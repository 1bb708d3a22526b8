import type { PlannedDevice } from '@wirt/core';
import { describe, expect, it } from 'vitest';
import { lockedBytes, vfioDevices } from './vfio-devices.ts';

const size = { machine: 'q35', memoryMib: 256, maxMemoryMib: 512, cpus: 2, maxCpus: 4 } as const;
const pci = (slot: number): PlannedDevice => ({
  name: `d${slot}`,
  slot,
  source: { kind: 'pci', address: `0000:0${slot + 1}:00.0` },
});

describe('devices of the host', () => {
  it('are nothing where there are none', () => {
    expect([vfioDevices(size), vfioDevices({ ...size, devices: [] })]).toEqual([[], []]);
    expect(lockedBytes(size)).toBeUndefined();
  });

  it('have a port each, all at different places', () => {
    const devices = Array.from({ length: 8 }, (_device, slot) => pci(slot));
    const given = vfioDevices({ ...size, devices }).filter((word) => word !== '-device');
    const parsed = given.map((word) => JSON.parse(word) as Record<string, unknown>);
    const [ports, ends] = [parsed.slice(0, 8), parsed.slice(8)];
    expect(new Set(ports.map(({ addr }) => addr)).size).toBe(8);
    expect(ports.filter(({ multifunction }) => multifunction === true)).toHaveLength(1);
    expect(ends.map(({ bus }) => bus)).toEqual(ports.map(({ id }) => id));
    expect(ends.map(({ host }) => host)).toEqual(
      devices.map(({ source }) => 'address' in source && source.address),
    );
  });

  it('are not for a microvm', () => {
    expect(() => vfioDevices({ ...size, machine: 'microvm', devices: [pci(0)] })).toThrow('microvm');
  });

  it('let QEMU lock all that the guest may ever have, and something more', () => {
    expect(lockedBytes({ ...size, devices: [pci(0)] })).toBe((512 + 1024) * 1024 * 1024);
  });

  // vCPUs, devices, memory in GiB: the limit in GiB.
  it.each([
    [8, 1, 16, 17],
    [255, 8, 16, 17],
    [256, 1, 16, 17],
    [256, 2, 16, 33],
    [288, 8, 64, 513],
    [1024, 4, 2048, 8193],
  ])(
    'of a guest with %i vCPUs and %i devices has to hold its %i GiB so often: %i GiB',
    (cpus, count, gib, locked) => {
      const devices = Array.from({ length: count }, (_device, slot) => pci(slot));
      const memoryMib = gib * 1024;
      const plan = { machine: 'q35', cpus, maxCpus: cpus, memoryMib, maxMemoryMib: 0, devices } as const;
      expect((lockedBytes(plan) ?? 0) / 1024 ** 3).toBe(locked);
    },
  );

  it('counts vCPUs by their numbers, which a topology may leave gaps in', () => {
    const placement = { topology: { sockets: 3, cores: 33, threads: 1 }, nodes: [] };
    const devices = [pci(0), pci(1)];
    const wide = { ...size, devices, cpus: 99, maxCpus: 99, placement };
    expect(lockedBytes(wide)).toBe((512 + 1024) * 1024 * 1024);
    const gaps = { ...placement, topology: { sockets: 5, cores: 33, threads: 1 } };
    expect(lockedBytes({ ...wide, cpus: 165, maxCpus: 165, placement: gaps })).toBe(
      (2 * 512 + 1024) * 1024 * 1024,
    );
  });
});
