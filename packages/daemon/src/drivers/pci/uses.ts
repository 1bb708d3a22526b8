// Why the host needs a device: pure, over what was read of its interfaces and disks.
import type { DeviceUse } from '@wirt/core';

export interface InterfaceFacts {
  readonly name: string;
  /** Of the PCI devices that it hangs on. */
  readonly devices: readonly string[];
  /** Without those of the link alone, which every interface gets. */
  readonly addresses: readonly string[];
  readonly hasDefaultRoute: boolean;
  /** A bridge, bond or team that it is part of. */
  readonly master?: string;
  /** VLANs and the like on top of it. */
  readonly uppers: readonly string[];
}

/** A disk, a partition, or what is made of them. */
export interface BlockFacts {
  readonly name: string;
  /** `major:minor`. */
  readonly dev?: string;
  readonly isPartition?: boolean;
  /** Several where a disk has several ways (NVMe multipath). */
  readonly devices: readonly string[];
  readonly mountPoints: readonly string[];
  readonly isSwap: boolean;
  /** Of a file system of several disks, though another's name is in the mount table. */
  readonly isMember: boolean;
  /** Block devices that are made of it. */
  readonly holders: readonly string[];
  /** Why it is in use after all, where nothing else says so. */
  readonly claim?: string;
}

export interface UseFacts {
  readonly interfaces: readonly InterfaceFacts[];
  readonly blocks: readonly BlockFacts[];
}

export function usesOf(address: string, { interfaces, blocks }: UseFacts): readonly DeviceUse[] {
  return [
    ...blocks
      .filter(({ devices }) => devices.includes(address))
      .flatMap((block) => blockUse(block, blocks) ?? []),
    ...interfaces
      .filter(({ devices }) => devices.includes(address))
      .flatMap((each) => interfaceUse(each) ?? []),
  ];
}

function interfaceUse({
  name,
  addresses,
  hasDefaultRoute,
  master,
  uppers,
}: InterfaceFacts): DeviceUse | undefined {
  const reasons = [
    ...(addresses.length === 0 ? [] : [`has the address ${addresses[0]}`]),
    ...(hasDefaultRoute ? ['has a default route'] : []),
    ...(master === undefined ? [] : [`is part of ${master}`]),
    ...(uppers.length === 0 ? [] : [`carries ${uppers.join(', ')}`]),
  ];
  return reasons.length === 0 ? undefined : { kind: 'network', name, reason: reasons.join(' and ') };
}

function blockUse(block: BlockFacts, all: readonly BlockFacts[]): DeviceUse | undefined {
  const { name, mountPoints, isSwap, isMember, holders, claim } = block;
  const kind = mountedAbove(block, all).has('/') ? 'root' : 'disk';
  const reason =
    mountPoints.length > 0
      ? `is mounted at ${mountPoints.includes('/') ? '/' : mountPoints[0]}`
      : isSwap
        ? 'is swap'
        : holders.length > 0
          ? `is part of ${holders.join(', ')}`
          : isMember
            ? 'is part of a mounted file system'
            : claim;
  return reason === undefined ? undefined : { kind, name, reason };
}

/** Where it, or what is made of it, is mounted. */
function mountedAbove(block: BlockFacts, all: readonly BlockFacts[]): ReadonlySet<string> {
  const found = new Set<string>();
  const seen = new Set<string>();
  const look = [block];
  for (let each = look.pop(); each !== undefined; each = look.pop()) {
    if (seen.has(each.name)) continue;
    seen.add(each.name);
    for (const point of each.mountPoints) found.add(point);
    const { holders } = each;
    look.push(...all.filter(({ name }) => holders.includes(name)));
  }
  return found;
}
