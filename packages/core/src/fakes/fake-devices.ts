/** PCI devices in memory. What a driver would do to the kernel is done to a table; its refusals are the domain's. */
import { type PciDevice, pciKind } from '../domain/devices/pci-device.ts';
import { bindRefusal, noSuchDevice, refusalError } from '../domain/devices/refusals.ts';
import type { HostDevices } from '../ports/host-devices.ts';

export interface FakeDevices extends HostDevices {
  /** By address. A test adds and takes out. */
  readonly table: Map<string, PciDevice>;
  /** Groups that are open to a guest, by the uid. */
  readonly granted: Map<number, number>;
  /** Before the named call: it fails with what this throws, or finds what this has changed. */
  before:
    | { readonly call: 'bind' | 'release' | 'grant' | 'createVfs'; readonly act: () => void | Promise<void> }
    | undefined;
  /** The kernel forgets what was made and bound. */
  boot(): void;
  /** Not as at the beginning: bound, or granted. */
  remains(): string[];
}

/** A network card of its own group unless more is said. */
export function aDevice(address: string, more: Partial<PciDevice> = {}): PciDevice {
  const classCode = more.classCode ?? 0x020000;
  return {
    address,
    classCode,
    kind: pciKind(classCode),
    vendorId: '8086',
    deviceId: '10c9',
    iommuGroup: Number.parseInt(address.replace(/\D/g, ''), 10) % 1000,
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

export function createFakeDevices(): FakeDevices {
  const table = new Map<string, PciDevice>();
  const granted = new Map<number, number>();
  /** Drivers by the boot, of what is bound. */
  const former = new Map<string, string | undefined>();
  const known = (address: string): PciDevice => {
    const device = table.get(address);
    if (device === undefined) throw noSuchDevice(address);
    return device;
  };
  const setDriver = (address: string, driver: string | undefined): void => {
    const { driver: _, ...device } = known(address);
    table.set(address, driver === undefined ? device : { ...device, driver });
  };
  const step = async (call: NonNullable<FakeDevices['before']>['call']): Promise<void> => {
    if (fake.before?.call !== call) return;
    const { act } = fake.before;
    fake.before = undefined;
    await act();
  };
  const all = (): PciDevice[] => [...table.values()].toSorted((a, b) => (a.address < b.address ? -1 : 1));

  const setVfs = (address: string, count: number): readonly string[] => {
    const device = known(address);
    for (const vf of device.sriov.vfs) table.delete(vf);
    const vfs = Array.from({ length: count }, (_vf, at) => `${address.slice(0, -4)}1${at >> 3}.${at & 7}`);
    for (const [at, vf] of vfs.entries())
      table.set(
        vf,
        aDevice(vf, {
          iommuGroup: 100 + at,
          sriov: { totalVfs: 0, numVfs: 0, isVf: true, physicalFunction: address, vfs: [] },
        }),
      );
    const uses = device.inUse.filter(({ kind }) => kind !== 'functions');
    const made = { kind: 'functions', name: address, reason: `has ${count} virtual functions` } as const;
    table.set(address, {
      ...device,
      sriov: { ...device.sriov, numVfs: count, vfs },
      inUse: count === 0 ? uses : [...uses, made],
    });
    return vfs;
  };

  const requireIdle = ({ address, sriov }: PciDevice): void => {
    const busy = sriov.vfs.find((vf) => table.get(vf)?.driver === 'vfio-pci');
    if (busy === undefined) return;
    const message = `Virtual functions of PCI device ${address} are in use: ${busy}.`;
    throw refusalError({ code: 'device.in_use', message, hint: '', details: {} });
  };

  const fake: FakeDevices = {
    table,
    granted,
    before: undefined,
    boot: () => {
      for (const [address, driver] of former) if (table.has(address)) setDriver(address, driver);
      former.clear();
      granted.clear();
      for (const { address, sriov } of all()) if (sriov.numVfs > 0) setVfs(address, 0);
    },
    remains: () => [
      ...all()
        .filter(({ driver }) => driver === 'vfio-pci')
        .map(({ address }) => `bound ${address}`),
      ...[...granted].map(([group, uid]) => `group ${group} of uid ${uid}`),
    ],
    inventory: async () => all(),
    bind: async (address, _signal, together) => {
      await step('bind');
      const device = known(address);
      if (device.driver === 'vfio-pci') return;
      const refusal = bindRefusal(device, all(), together);
      if (refusal !== undefined) throw refusalError(refusal);
      former.set(address, device.driver);
      setDriver(address, 'vfio-pci');
    },
    release: async (address, formerDriver) => {
      await step('release');
      former.delete(address);
      if (table.get(address)?.driver === 'vfio-pci') setDriver(address, formerDriver);
    },
    grant: async (group, { uid }) => {
      await step('grant');
      granted.set(group, uid);
    },
    revoke: async (group) => {
      granted.delete(group);
    },
    createVfs: async (address, count) => {
      const device = known(address);
      if (device.sriov.numVfs === count) return device.sriov.vfs;
      requireIdle(device);
      await step('createVfs');
      if (count > device.sriov.totalVfs)
        throw refusalError({
          code: 'device.unsupported',
          message: `PCI device ${address} has 1 to ${device.sriov.totalVfs} virtual functions, not ${count}.`,
          hint: '',
          details: {},
        });
      return setVfs(address, count);
    },
    removeVfs: async (address) => {
      const device = known(address);
      requireIdle(device);
      setVfs(address, 0);
    },
  };
  return fake;
}
