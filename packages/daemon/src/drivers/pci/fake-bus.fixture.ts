// A PCI bus on a tree of files, with the kernel's part of it: what writes into driver_override, unbind, drivers_probe, reset
// and sriov_numvfs do (Linux, Documentation/ABI/testing/sysfs-bus-pci; errnos as drivers/pci/{pci-sysfs,iov}.c and
// drivers/base/bus.c give them). Faults are laid in front of a write.
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { makeRoot, writeTable } from '../../platform/host-files.fixture.ts';
import { createHostFiles, type HostFiles } from '../../platform/host-files.ts';
import type { SysfsWrites } from '../../platform/sysfs-writes.ts';

export interface FakeDevice {
  readonly address: string;
  /** `0x020000`. */
  readonly class: string;
  readonly vendor?: string;
  readonly device?: string;
  readonly driver?: string;
  /** Takes it when nobody is named; undefined: none does. */
  readonly fits?: string;
  readonly group?: number;
  readonly node?: number;
  readonly reset?: string;
  readonly totalVfs?: number;
  /** More files below the device. */
  readonly files?: Readonly<Record<string, string>>;
}

export interface FakeBus {
  readonly root: string;
  readonly files: HostFiles;
  readonly writes: SysfsWrites;
  /** `path value`, below /sys/bus/pci. */
  readonly log: string[];
  add(device: FakeDevice): void;
  /** Pulled out of its slot. */
  remove(address: string): void;
  driverOf(address: string): string | undefined;
  override(address: string): string;
  /** Interface or disk of a device, as `net/eth7` or `block/sda`. */
  addChild(address: string, child: string, files?: Readonly<Record<string, string>>): void;
  /** Drivers whose probe fails. */
  readonly refusing: Set<string>;
  /** Done before a write whose path matches; what it throws the write fails with. Once. */
  before(path: RegExp, fault: () => void): void;
  /** How many functions a device really makes. */
  vfsAtMost: number;
}

export const errno = (code: string): Error => Object.assign(new Error(`${code}: by the kernel`), { code });

const bus = '/sys/bus/pci';
const place = (address: string): string => `/sys/devices/pci0000:00/${address}`;

/** Reads and changes files below a root, as the kernel does. */
function createTree(root: string) {
  const at = (path: string): string => join(root, path);
  const exists = (path: string): boolean => existsSync(at(path));
  return {
    exists,
    text: (path: string): string => readFileSync(at(path), 'utf8').trim(),
    set: (path: string, value: string): void => writeFileSync(at(path), `${value}\n`),
    remove: (path: string): void => rmSync(at(path), { recursive: true, force: true }),
    write: (table: Readonly<Record<string, string>>): void => writeTable(root, table),
    link(path: string, target: string): void {
      mkdirSync(dirname(at(path)), { recursive: true });
      symlinkSync(relative(dirname(path), target), at(path));
    },
    driverOf(address: string): string | undefined {
      const link = `${place(address)}/driver`;
      return exists(link) ? basename(readlinkSync(at(link))) : undefined;
    },
  };
}

type Tree = ReturnType<typeof createTree>;

function addDevice(tree: Tree, device: FakeDevice): void {
  const { address, driver, group, totalVfs, reset } = device;
  const files: Record<string, string> = {
    class: device.class,
    vendor: `0x${device.vendor ?? '8086'}`,
    device: `0x${device.device ?? '10c9'}`,
    numa_node: String(device.node ?? -1),
    driver_override: '(null)',
    ...(reset === undefined ? {} : { reset: '1', reset_method: reset }),
    ...(totalVfs === undefined
      ? {}
      : { sriov_totalvfs: String(totalVfs), sriov_numvfs: '0', sriov_drivers_autoprobe: '1' }),
    ...device.files,
  };
  for (const [name, content] of Object.entries(files))
    tree.write({ [`${place(address)}/${name}`]: content.startsWith('->') ? content : `${content}\n` });
  tree.link(`${bus}/devices/${address}`, place(address));
  if (driver !== undefined) tree.link(`${place(address)}/driver`, `${bus}/drivers/${driver}`);
  if (group !== undefined) tree.link(`${place(address)}/iommu_group`, `/sys/kernel/iommu_groups/${group}`);
}

function removeDevice(tree: Tree, address: string): void {
  tree.remove(`${bus}/devices/${address}`);
  tree.remove(place(address));
}

export async function fakeBus(
  drivers: readonly string[] = ['vfio-pci', 'igb', 'igbvf', 'ahci'],
): Promise<FakeBus> {
  const root = await makeRoot();
  const tree = createTree(root);
  tree.write(Object.fromEntries(drivers.map((name) => [`${bus}/drivers/${name}/`, ''])));
  tree.write({ [`${bus}/devices/`]: '', '/sys/class/net/': '', '/sys/class/block/': '' });
  const fits = new Map<string, string | undefined>();
  const faults: { path: RegExp; fault: () => void }[] = [];

  const fake: FakeBus = {
    root,
    files: createHostFiles(root),
    log: [],
    refusing: new Set(),
    vfsAtMost: 256,
    driverOf: tree.driverOf,
    override: (address) => tree.text(`${place(address)}/driver_override`),
    add(device) {
      fits.set(device.address, device.fits ?? device.driver);
      addDevice(tree, device);
    },
    remove: (address) => removeDevice(tree, address),
    addChild(address, child, files = {}) {
      const path = `${place(address)}/${child}`;
      tree.write({ [`${path}/`]: '' });
      tree.write(
        Object.fromEntries(Object.entries(files).map(([file, content]) => [`${path}/${file}`, content])),
      );
      const kind = basename(dirname(child)) === 'net' ? 'net' : 'block';
      tree.link(`/sys/class/${kind}/${basename(child)}`, path);
    },
    before: (path, fault) => void faults.push({ path, fault }),
    writes: {
      async write(path, value, signal) {
        signal.throwIfAborted();
        const next = faults.findIndex((each) => each.path.test(path));
        if (next >= 0) faults.splice(next, 1)[0]?.fault();
        fake.log.push(`${relative(bus, path)} ${value.trim()}`);
        createKernel(tree, fake, fits).act(path, value);
      },
    },
  };
  return fake;
}

/** What a write does. */
function createKernel(tree: Tree, fake: FakeBus, fits: ReadonlyMap<string, string | undefined>) {
  function unbind(address: string, driver: string): void {
    if (tree.driverOf(address) !== driver) throw errno('ENODEV');
    tree.remove(`${place(address)}/driver`);
  }

  function probe(address: string): void {
    if (!tree.exists(place(address))) throw errno('ENODEV');
    if (tree.driverOf(address) !== undefined) return;
    const override = fake.override(address);
    const physical = `${place(address)}/physfn`;
    const closed = tree.exists(physical) && tree.text(`${physical}/sriov_drivers_autoprobe`) === '0';
    const driver = override !== '(null)' ? override : closed ? undefined : fits.get(address);
    // A probe that fails, or finds no driver, makes no write fail.
    if (driver === undefined || fake.refusing.has(driver) || !tree.exists(`${bus}/drivers/${driver}`)) return;
    tree.link(`${place(address)}/driver`, `${bus}/drivers/${driver}`);
  }

  function setVfs(address: string, count: number): void {
    const path = place(address);
    const now = Number(tree.text(`${path}/sriov_numvfs`));
    if (count > Number(tree.text(`${path}/sriov_totalvfs`))) throw errno('ERANGE');
    if (count === now) return;
    if (tree.driverOf(address) === undefined) throw errno('ENOENT');
    if (now > 0 && count > 0) throw errno('EBUSY');
    const made = Math.min(count, fake.vfsAtMost);
    const vf = (at: number): string => `${address.slice(0, -4)}${(0x10 + (at >> 3)).toString(16)}.${at & 7}`;
    for (let each = 0; each < now; each += 1) {
      tree.remove(`${path}/virtfn${each}`);
      fake.remove(vf(each));
    }
    for (let each = 0; each < made; each += 1) {
      const address = vf(each);
      fake.add({
        address,
        class: '0x020000',
        device: '10ca',
        fits: 'igbvf',
        group: 100 + each,
        reset: 'flr',
      });
      tree.link(`${place(address)}/physfn`, path);
      tree.link(`${path}/virtfn${each}`, place(address));
      if (tree.text(`${path}/sriov_drivers_autoprobe`) === '1') probe(address);
    }
    tree.set(`${path}/sriov_numvfs`, String(made));
  }

  function act(path: string, value: string): void {
    const [, address = '', file = ''] = /\/devices\/([^/]+)\/(\w+)$/.exec(path) ?? [];
    const [, unbound] = /\/drivers\/([^/]+)\/unbind$/.exec(path) ?? [];
    if (path === `${bus}/drivers_probe`) return probe(value);
    if (unbound !== undefined) return unbind(value, unbound);
    if (!tree.exists(path)) throw errno('ENOENT');
    switch (file) {
      case 'driver_override':
        return tree.set(`${place(address)}/driver_override`, value.trim() || '(null)');
      case 'sriov_drivers_autoprobe':
        return tree.set(`${place(address)}/sriov_drivers_autoprobe`, value);
      case 'sriov_numvfs':
        return setVfs(address, Number(value));
      case 'reset':
        return;
      default:
        throw errno('EACCES');
    }
  }

  return { act };
}
