import type { PlannedDevice } from '@wirt/core';
import { describe, expect, it } from 'vitest';
import { lockedBytes, vfioDevices } from './vfio-devices.ts';

const size = { machine: 'q35', memoryMib: 256, maxMemoryMib: 512 } as const;
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
});
