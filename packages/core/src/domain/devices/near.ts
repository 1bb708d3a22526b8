/** Which nodes of the host the devices hang on that a guest asks for. Pure; over an inventory that was just read. */
import type { InstanceDevice } from '@wirt/api';
import { findMediated, type LendingGround, lendingRefusal } from './lending.ts';
import type { PciDevice } from './pci-device.ts';

/** By node, how many of what is asked for can be had there: of a pool, wherever it has a function that is free. */
export function devicesByNode(
  asked: readonly InstanceDevice[],
  ground: LendingGround,
): Readonly<Record<number, number>> {
  const byNode: Record<number, number> = {};
  for (const each of asked) {
    const nodes = candidatesFor(each, ground).flatMap(({ numaNode }) => numaNode ?? []);
    for (const node of new Set(nodes)) byNode[node] = (byNode[node] ?? 0) + 1;
  }
  return byNode;
}

function candidatesFor(asked: InstanceDevice, ground: LendingGround): readonly PciDevice[] {
  const { inventory } = ground;
  if ('pool' in asked) {
    const functions = ground.functionsOf(asked.pool);
    return inventory.filter(
      (device) => functions.includes(device.address) && lendingRefusal(device, ground) === undefined,
    );
  }
  const address = 'mdev' in asked ? findMediated(inventory, asked.mdev)?.parent : asked.address;
  return inventory.filter((device) => device.address === address);
}
