import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isPciAddress, isVfioDriver, type PciDevice, pciKind } from './pci-device.ts';
import { bindRefusal, groupRefusal } from './refusals.ts';

function device(address: string, more: Partial<PciDevice> = {}): PciDevice {
  const classCode = more.classCode ?? 0x020000;
  return {
    address,
    classCode,
    kind: pciKind(classCode),
    vendorId: '8086',
    deviceId: '10c9',
    groupMembers: [],
    sriov: { totalVfs: 0, numVfs: 0, isVf: false, vfs: [] },
    mediatedTypes: [],
    mediatedDevices: [],
    resettable: true,
    resetMethods: ['flr'],
    inUse: [],
    ...more,
  };
}

/** Devices of one group. */
function group(...members: readonly PciDevice[]): readonly PciDevice[] {
  const addresses = members.map(({ address }) => address);
  return members.map((member) => ({
    ...member,
    iommuGroup: 7,
    groupMembers: addresses.filter((address) => address !== member.address),
  }));
}

const [first, second] = ['0000:03:00.0', '0000:03:00.1'];

/** Of the first of a group. */
function refusalOf(...members: readonly PciDevice[]) {
  const inventory = group(...members);
  const [asked] = inventory;
  if (asked === undefined) throw new Error('a group has members');
  return groupRefusal(asked, inventory);
}

describe('a group', () => {
  it('that a driver of the host has a part of cannot be separated, and that part is named', () => {
    const inUse = [{ kind: 'root', name: 'sda2', reason: 'is mounted at /' }] as const;
    const disk = device(second, { classCode: 0x010601, driver: 'ahci', inUse });
    const refusal = refusalOf(device(first, { driver: 'igb' }), disk, device('0000:03:00.2'));
    expect(refusal).toMatchObject({
      code: 'device.group_shared',
      message:
        'PCI device 0000:03:00.0 shares IOMMU group 7 with 0000:03:00.1 (storage, driver ahci, in use by the host: sda2 is mounted at /).',
      details: { group: 7, members: [{ address: second, kind: 'storage', driver: 'ahci', inUse }] },
    });
  });

  it('whose other members are without a driver, with VFIO, or PCI bridges, is fine', () => {
    const others = [
      device('0000:02:00.0', { classCode: 0x060400, driver: 'pcieport' }),
      device(second),
      device('0000:03:00.2', { driver: 'vfio-pci' }),
      device('0000:03:00.3', { driver: 'mlx5_vfio_pci' }),
      device('0000:03:00.4', { driver: 'pci-stub' }),
    ];
    expect(refusalOf(device(first, { driver: 'igb' }), ...others)).toBeUndefined();
  });

  it('is also held by a bridge of another kind that has a driver', () => {
    const isa = device(second, { classCode: 0x060100, driver: 'lpc_ich' });
    expect(refusalOf(device(first), isa)?.message).toContain('0000:03:00.1 (bridge, driver lpc_ich)');
  });

  it('is judged by its own members only', () => {
    const [asked = device(first)] = group(device(first));
    expect(groupRefusal(asked, [asked, device(second, { iommuGroup: 8, driver: 'ahci' })])).toBeUndefined();
  });

  it('is refused exactly when a member that is no PCI bridge has a driver of the host', () => {
    const member = fc.record({
      driver: fc.constantFrom(undefined, 'vfio-pci', 'pci-stub', 'igb', 'nvme', 'pcieport'),
      classCode: fc.constantFrom(0x020000, 0x010802, 0x060400),
    });
    fc.assert(
      fc.property(fc.array(member, { maxLength: 7 }), (drawn) => {
        const others = drawn.map(({ driver, classCode }, at) =>
          device(`0000:04:00.${at}`, { classCode, ...(driver === undefined ? {} : { driver }) }),
        );
        const hosts = drawn.filter(
          ({ driver, classCode }) =>
            classCode !== 0x060400 && ['igb', 'nvme', 'pcieport'].includes(driver ?? ''),
        );
        const members = (refusalOf(device(first), ...others)?.details['members'] ?? []) as unknown[];
        expect(members).toHaveLength(hosts.length);
      }),
    );
  });
});

describe('a device', () => {
  const free = device(first, { iommuGroup: 7 });
  const codeOf = (asked: PciDevice) => bindRefusal(asked, [asked])?.code;

  it('that is free and alone can be bound', () => {
    expect(codeOf(free)).toBeUndefined();
    expect(codeOf({ ...free, driver: 'igb' })).toBeUndefined();
  });

  it('that is a bridge, in use, or not kept apart by an IOMMU, cannot', () => {
    const inUse = [{ kind: 'network', name: 'eth0', reason: 'has the address 192.0.2.1' }] as const;
    expect(codeOf({ ...free, kind: 'bridge' })).toBe('device.unsupported');
    const used = bindRefusal({ ...free, inUse }, []);
    expect(used?.code).toBe('device.in_use');
    expect(used?.message).toContain('eth0 has the address 192.0.2.1');
    const { iommuGroup: _, ...open } = free;
    expect(codeOf(open)).toBe('device.unsupported');
    expect(bindRefusal(open, [])?.hint).toContain('intel_iommu=on');
  });
});

describe('words of PCI', () => {
  it('are told apart', () => {
    const codes = [0x010802, 0x020000, 0x030000, 0x060400, 0x120000, 0xffff00];
    expect(codes.map(pciKind)).toEqual(['storage', 'network', 'display', 'bridge', 'other', 'other']);
    expect(['0000:03:00.0', '10000:e1:00.7'].every(isPciAddress)).toBe(true);
    const bad = ['03:00.0', '0000:03:20.0', '0000:03:00.8', '0000:03:00.0/..', '0000:03:00.0\n', '..'];
    expect(bad.filter(isPciAddress)).toEqual([]);
    expect(['vfio-pci', 'mlx5_vfio_pci', 'xe-vfio-pci'].every(isVfioDriver)).toBe(true);
    expect([undefined, 'igb', 'vfiox'].some(isVfioDriver)).toBe(false);
  });
});
