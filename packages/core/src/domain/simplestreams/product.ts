/** What Wirt keeps of a simplestreams product: its names, and its newest version that has a disk for virtual machines. */

/** The file types (`ftype`) that are disks for KVM. Any other (root file systems, metadata, VMDK) is left out. */
export type DiskFtype = 'disk1.img' | 'disk-kvm.img' | 'disk.qcow2' | 'uefi1.img';

export type CatalogueFirmware = 'bios' | 'uefi';

/** A file of the catalogue that can be fetched and checked. */
export interface CatalogueItem {
  /** Below the root of the catalogue; relative, without `..`. */
  readonly path: string;
  readonly sizeBytes: number;
  /** Lower-case hexadecimal. */
  readonly sha256: string;
  readonly format: 'qcow2';
  readonly ftype: DiskFtype;
}

/** `bad` is what keeps a described disk from being fetched: it is told, and never passed over for an older version. */
export type DiskOffer =
  | { readonly kind: 'disk'; readonly item: CatalogueItem }
  | { readonly kind: 'bad'; readonly why: string };

export interface Product {
  readonly id: string;
  /** As Debian names processors: `amd64`, `arm64`. */
  readonly arch: string;
  /** Names without a variant, in lower case, the best one first: `debian/12`, `debian/bookworm`, `12`, `bookworm`. */
  readonly names: readonly string[];
  /** `cloud` also where a product says nothing of variants, because such a catalogue has cloud images only. */
  readonly variant: string;
  readonly title: string;
  readonly cloudInit: boolean;
  /** Undefined for what has container images only. */
  readonly newest: { readonly version: string; readonly offer: DiskOffer } | undefined;
}

/** A product as people choose it. */
export interface CatalogueEntry {
  /** Names this product and no other of the catalogue. */
  readonly name: string;
  readonly otherNames: readonly string[];
  readonly product: string;
  readonly variant: string;
  readonly title: string;
  readonly version: string;
  readonly sizeBytes: number;
  readonly firmware: readonly CatalogueFirmware[];
  readonly cloudInit: boolean;
}

export interface ResolvedProduct {
  readonly product: string;
  readonly version: string;
  readonly item: CatalogueItem;
  readonly title: string;
  /** What it can boot by, the better one last. */
  readonly firmware: readonly CatalogueFirmware[];
  /** Whether it takes a cloud-init seed. */
  readonly cloudInit: boolean;
}

const archNames: Readonly<Record<string, string>> = {
  x86_64: 'amd64',
  x64: 'amd64',
  aarch64: 'arm64',
  i686: 'i386',
  ppc64le: 'ppc64el',
};

/** Debian's name of a processor that is also known by another one. */
export function archName(name: string): string {
  return archNames[name] ?? name;
}

/**
 * The image servers of Incus and LXD build disks for UEFI alone; Ubuntu's `disk1.img` has a boot loader for either.
 * There is no BIOS where the processor is no PC's.
 */
export function firmwareOf(item: CatalogueItem, arch: string): CatalogueFirmware[] {
  const pc = arch === 'amd64' || arch === 'i386';
  return pc && item.ftype === 'disk1.img' ? ['bios', 'uefi'] : ['uefi'];
}
