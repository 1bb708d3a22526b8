/** A PCI device of the host, as facts. Pure data; what may be done with it is in refusals.ts. */

/** From the base class of the PCI code and ID assignment specification. */
export type PciKind = 'network' | 'storage' | 'display' | 'bridge' | 'other';

/** Why the host itself needs a device. */
export interface DeviceUse {
  /**
   * `root`: the host runs from it. `disk`: mounted, swap, or part of another device. `network`: has an address, a default route,
   * or carries another interface. `functions`: virtual functions have been made of it. `mediated`: mediated devices have. `vfio`: a program has it
   * open, which may be a guest of somebody else’s.
   */
  readonly kind: 'root' | 'disk' | 'network' | 'functions' | 'mediated' | 'vfio';
  /** Of the interface, disk or function. */
  readonly name: string;
  /** Completes a sentence that begins with the name: `is mounted at /`. */
  readonly reason: string;
}

export interface MediatedType {
  /** As the parent's driver calls it: `i915-GVTg_V5_4`. */
  readonly id: string;
  /** What the driver says of it; many say nothing. */
  readonly name?: string;
  /** How many more can be made now. */
  readonly available: number;
  /** `vfio-pci` and the like. */
  readonly deviceApi: string;
}

export interface MediatedDevice {
  readonly uuid: string;
  /** Id of one of its parent's types; absent: it has none, as one that is just being made or taken away. */
  readonly type?: string;
  /** Address of the PCI device. */
  readonly parent: string;
  /** A group of its own. Absent: no driver for guests has it. */
  readonly iommuGroup?: number;
  /** A program has it open: a guest's QEMU, ours or another's. */
  readonly isOpen: boolean;
}

export interface PciDevice {
  /** `0000:03:00.0`. */
  readonly address: string;
  /** 24 bits: base class, sub-class, programming interface. */
  readonly classCode: number;
  readonly kind: PciKind;
  /** Four hexadecimal digits. */
  readonly vendorId: string;
  readonly deviceId: string;
  readonly driver?: string;
  /** Absent: no IOMMU keeps the device apart, and no guest can have it. */
  readonly iommuGroup?: number;
  /** Addresses of the others in the group. */
  readonly groupMembers: readonly string[];
  /** Absent: the firmware does not say. */
  readonly numaNode?: number;
  readonly sriov: {
    /** 0: it has none. */
    readonly totalVfs: number;
    readonly numVfs: number;
    readonly isVf: boolean;
    /** Of a virtual function: the one it was made of. */
    readonly physicalFunction?: string;
    /** In the order of their numbers. */
    readonly vfs: readonly string[];
  };
  readonly mediatedTypes: readonly MediatedType[];
  readonly mediatedDevices: readonly MediatedDevice[];
  /** Whether the kernel can bring it to its first state, which ends what a guest left in it. */
  readonly resettable: boolean;
  /** In the order in which the kernel tries them: `flr`, `pm`, `bus`… */
  readonly resetMethods: readonly string[];
  readonly inUse: readonly DeviceUse[];
  /** What the kernel was told to do with it and has not answered to; completes "it was to be": `unbound from igb`. */
  readonly stuck?: string;
}

const kinds: Readonly<Record<number, PciKind>> = {
  0x01: 'storage',
  0x02: 'network',
  0x03: 'display',
  0x06: 'bridge',
};

export function pciKind(classCode: number): PciKind {
  return kinds[classCode >> 16] ?? 'other';
}

/** PCI-to-PCI: part of the way to a device, and no end of it. */
export function isPciBridge({ classCode }: Pick<PciDevice, 'classCode'>): boolean {
  return classCode >> 8 === 0x0604;
}

/** Drivers that hand a device to a process and do not use it themselves: vfio-pci, and its variants of vendors. */
export function isVfioDriver(driver: string | undefined): boolean {
  return driver !== undefined && /(?:^|[-_])vfio(?:[-_]|$)/.test(driver);
}

/** With domain; the kernel writes domains of more than four digits where there are many. */
export function isPciAddress(text: string): boolean {
  return /^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/.test(text);
}
