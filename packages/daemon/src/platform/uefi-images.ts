/**
 * Which UEFI firmware for guests this host has: images for two pflash devices, raw, without Secure Boot and its SMM. First
 * what the distribution's firmware descriptors say (QEMU's docs/interop/firmware.json), then places known of distributions
 * that have none. Reads; runs nothing.
 */

export interface UefiImages {
  readonly code: string;
  /** Copied for each guest. */
  readonly varsTemplate: string;
}

/** The files of the host; what is not there is undefined, false or empty. */
export interface UefiLookup {
  list(path: string): Promise<string[]>;
  text(path: string): Promise<string | undefined>;
  exists(path: string): Promise<boolean>;
}

/** Later ones hide those of the same name in earlier ones. */
const descriptorDirectories = ['/usr/share/qemu/firmware', '/etc/qemu/firmware'];

/** Of os.machine(). The machine is one that guests get; descriptors have patterns for it. */
const machines: Readonly<Record<string, string>> = { x86_64: 'pc-q35-7.2', aarch64: 'virt-7.2' };

/** What a guest of ours is not started with, or what leaves no variables of its own. */
const unwanted: ReadonlySet<string> = new Set([
  'secure-boot',
  'enrolled-keys',
  'requires-smm',
  'qemu-vars',
  'host-uefi-vars',
]);

const knownPlaces: Readonly<
  Record<string, readonly (readonly [directory: string, code: string, vars: string])[]>
> = {
  x86_64: [
    // Debian, Ubuntu; the second up to 11, 22.04 and Fedora's compatible names.
    ['/usr/share/OVMF', 'OVMF_CODE_4M.fd', 'OVMF_VARS_4M.fd'],
    ['/usr/share/OVMF', 'OVMF_CODE.fd', 'OVMF_VARS.fd'],
    // Fedora, CentOS Stream.
    ['/usr/share/edk2/ovmf', 'OVMF_CODE.fd', 'OVMF_VARS.fd'],
    // Arch, now and before.
    ['/usr/share/edk2/x64', 'OVMF_CODE.4m.fd', 'OVMF_VARS.4m.fd'],
    ['/usr/share/edk2-ovmf/x64', 'OVMF_CODE.fd', 'OVMF_VARS.fd'],
    // openSUSE.
    ['/usr/share/qemu', 'ovmf-x86_64-4m-code.bin', 'ovmf-x86_64-4m-vars.bin'],
    // QEMU's own.
    ['/usr/share/qemu', 'edk2-x86_64-code.fd', 'edk2-i386-vars.fd'],
  ],
  aarch64: [
    ['/usr/share/AAVMF', 'AAVMF_CODE.no-secboot.fd', 'AAVMF_VARS.fd'],
    ['/usr/share/AAVMF', 'AAVMF_CODE.fd', 'AAVMF_VARS.fd'],
    ['/usr/share/edk2/aarch64', 'QEMU_EFI-pflash.raw', 'vars-template-pflash.raw'],
    ['/usr/share/edk2/aarch64', 'QEMU_CODE.fd', 'QEMU_VARS.fd'],
    ['/usr/share/qemu', 'aavmf-aarch64-code.bin', 'aavmf-aarch64-vars.bin'],
    ['/usr/share/qemu', 'edk2-aarch64-code.fd', 'edk2-arm-vars.fd'],
  ],
};

/** Those that are there, each once, the preferred first. `architecture` as of os.machine(). */
export async function findUefiImages(architecture: string, files: UefiLookup): Promise<UefiImages[]> {
  const described = (await readDescriptors(files)).map((text) => imagesOf(text, architecture));
  const known = (knownPlaces[architecture] ?? []).map(([directory, code, vars]) => ({
    code: `${directory}/${code}`,
    varsTemplate: `${directory}/${vars}`,
  }));
  const found = new Map<string, UefiImages>();
  for (const images of [...described, ...known]) {
    if (images === undefined || found.has(images.code)) continue;
    if ((await files.exists(images.code)) && (await files.exists(images.varsTemplate)))
      found.set(images.code, images);
  }
  return [...found.values()];
}

/** The package that has them, in Debian. */
export function uefiPackage(architecture: string): string {
  return architecture === 'aarch64' ? 'qemu-efi-aarch64' : 'ovmf';
}

/** In the order of their names, whatever directory they are in. An empty one only hides. */
async function readDescriptors(files: UefiLookup): Promise<string[]> {
  const paths = new Map<string, string>();
  for (const directory of descriptorDirectories) {
    for (const name of await files.list(directory))
      if (name.endsWith('.json')) paths.set(name, `${directory}/${name}`);
  }
  const texts = [...paths.entries()]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([, path]) => files.text(path));
  return (await Promise.all(texts)).filter((text) => text !== undefined);
}

/** Undefined for a descriptor of something else, or of nothing that is understood. */
function imagesOf(text: string, architecture: string): UefiImages | undefined {
  const descriptor = parse(text);
  const mapping = objectOf(descriptor['mapping']);
  if (mapping['device'] !== 'flash' || (mapping['mode'] ?? 'split') !== 'split') return undefined;
  const isUefi = listOf(descriptor['interface-types']).includes('uefi');
  const isWanted = !listOf(descriptor['features']).some((feature) => unwanted.has(String(feature)));
  const fits = listOf(descriptor['targets']).some((target) => isTarget(objectOf(target), architecture));
  if (!isUefi || !isWanted || !fits) return undefined;
  const code = rawFile(mapping['executable']);
  const varsTemplate = rawFile(mapping['nvram-template']);
  return code === undefined || varsTemplate === undefined ? undefined : { code, varsTemplate };
}

function isTarget(target: Readonly<Record<string, unknown>>, architecture: string): boolean {
  const machine = machines[architecture];
  if (target['architecture'] !== architecture || machine === undefined) return false;
  return listOf(target['machines']).some((pattern) => matches(String(pattern), machine));
}

/** As fnmatch(3) with * and ?. */
function matches(pattern: string, name: string): boolean {
  const source = pattern
    .replaceAll(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll(/\*+/g, '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${source}$`).test(name);
}

function rawFile(file: unknown): string | undefined {
  const { filename, format } = objectOf(file);
  return format === 'raw' && typeof filename === 'string' && filename.startsWith('/') ? filename : undefined;
}

function parse(text: string): Readonly<Record<string, unknown>> {
  try {
    return objectOf(JSON.parse(text));
  } catch {
    return {};
  }
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
