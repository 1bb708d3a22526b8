// Which kernel modules the guest loads, and in which order. Debian's kernel package has no modules.dep (depmod runs at
// installation, and nothing is installed here): the dependencies are read from the modules themselves. Pure.
import { readSection } from './elf.ts';

const virtio = [
  'virtio_pci',
  'virtio_mmio',
  'virtio_net',
  'virtio_blk',
  'virtio_console',
  'virtio_rng',
] as const;
/** By which its memory is changed while it runs; kernels for few machines have the second. */
const memory = ['virtio_balloon', 'virtio_mem'] as const;
/** SCSI disks and CD drives, which few guests have. */
const scsi = ['virtio_scsi', 'sd_mod', 'sr_mod', 'isofs'] as const;

/**
 * What the micro guest has devices for. `always` must be there, as a module or built in; `onDemand` is in the image where
 * the kernel has it, and is loaded by whoever runs modprobe in the guest: every module costs time at boot.
 */
export interface WantedModules {
  readonly always: readonly string[];
  readonly whenThere: readonly string[];
  readonly onDemand: readonly string[];
}

export const wantedModules = {
  amd64: { always: [...virtio, 'button', 'evdev'], whenThere: memory, onDemand: scsi },
  arm64: {
    always: [...virtio, 'evdev'],
    // The power button is ACPI's under UEFI, and a GPIO key under a device tree.
    whenThere: [...memory, 'button', 'gpio_pl061', 'gpio_keys'],
    onDemand: scsi,
  },
} as const satisfies Record<string, WantedModules>;

export interface ModuleTree {
  /** Whether the kernel has it without a file. */
  isBuiltIn(name: string): boolean;
  /** The names that `name` depends on, or undefined when there is no such module. */
  dependenciesOf(name: string): readonly string[] | undefined;
}

export class MissingModuleError extends Error {
  override readonly name = 'MissingModuleError';
  readonly module: string;

  constructor(module: string, neededBy: string | undefined) {
    super(`The kernel has no module ${module}${neededBy === undefined ? '' : `, which ${neededBy} needs`}.`);
    this.module = module;
  }
}

/** The modules to load, every one after those it depends on. Throws `MissingModuleError`. */
export function loadOrder(
  wanted: { readonly always: readonly string[]; readonly whenThere: readonly string[] },
  tree: ModuleTree,
): readonly string[] {
  const order: string[] = [];
  const seen = new Set<string>();
  const visit = (rawName: string, neededBy: string | undefined): void => {
    const name = moduleName(rawName);
    if (seen.has(name)) return;
    seen.add(name);
    if (tree.isBuiltIn(name)) return;
    const dependencies = tree.dependenciesOf(name);
    if (dependencies === undefined) throw new MissingModuleError(name, neededBy);
    for (const dependency of dependencies) visit(dependency, name);
    order.push(name);
  };
  for (const name of wanted.always) visit(name, undefined);
  for (const name of wanted.whenThere) {
    if (tree.dependenciesOf(moduleName(name)) !== undefined) visit(name, undefined);
  }
  return order;
}

/** The `depends` of a module's file (uncompressed). */
export function readDependencies(module: Buffer): readonly string[] {
  const entries = readSection(module, '.modinfo')?.toString('latin1').split('\0') ?? [];
  const depends = entries.find((entry) => entry.startsWith('depends='))?.slice('depends='.length) ?? '';
  return depends
    .split(',')
    .filter((name) => name !== '')
    .map(moduleName);
}

/** The kernel's name of a module, given its file's path or its name: `virtio-rng.ko.xz` is `virtio_rng`. */
export function moduleName(path: string): string {
  const file = path.slice(path.lastIndexOf('/') + 1);
  return file.replace(/\.ko(\.(xz|zst|gz))?$/, '').replaceAll('-', '_');
}

/** The text of modules.dep for modules that lie together in one folder. Source: modules.dep(5). */
export function renderModulesDep(order: readonly string[], tree: ModuleTree): string {
  const closureOf = (name: string): ReadonlySet<string> => {
    const direct = tree.dependenciesOf(name) ?? [];
    return new Set(direct.flatMap((dependency) => [dependency, ...closureOf(dependency)]));
  };
  const line = (name: string): string => {
    const closure = closureOf(name);
    // modprobe loads what is named last first.
    const dependencies = order.filter((other) => closure.has(other)).reverse();
    return `${[`${name}.ko:`, ...dependencies.map((other) => `${other}.ko`)].join(' ')}\n`;
  };
  return order.map(line).join('');
}
