// One moment for all disks: QEMU is switched to overlays by a single transaction.
import { WirtError } from '@wirt/api';
import type { GuestDisks } from '@wirt/core';
import { noAbort } from './control.ts';
import { dropUnused, readBlockState } from './disk-chain.ts';
import { addAll, type DiskContext, refused } from './disk-context.ts';
import { overlayNodes } from './disk-nodes.ts';

export async function overlayDisks(
  context: DiskContext,
  overlays: Parameters<GuestDisks['overlay']>[0],
  signal: AbortSignal,
): Promise<void> {
  const { id, ask } = context;
  const { drives } = await readBlockState(ask, signal);
  const what = `The disks of instance ${id} could not be switched to their overlays.`;
  const switches = overlays.map(({ disk, layer }) => {
    const top = drives.get(disk)?.top;
    if (top !== undefined) return { top, layer };
    throw new WirtError('snapshot.failed', what, { cause: new Error(`There is no disk ${disk} in it.`) });
  });
  await dropUnused(ask);
  try {
    const aio = await context.chooseAio();
    const actions = [];
    for (const { top, layer } of switches) {
      const nodes = overlayNodes(layer, { number: top.number, aio });
      await addAll(ask, nodes, signal);
      const data = { node: top.node, overlay: nodes.at(-1)?.['node-name'] ?? '' };
      actions.push({ type: 'blockdev-snapshot', data } as const);
    }
    signal.throwIfAborted();
    // All or none, at one moment: QEMU holds every write back meanwhile.
    if (actions.length > 0) await ask('transaction', { actions }, noAbort);
  } catch (error) {
    // Closes the overlays unless QEMU has switched to them.
    await dropUnused(ask).catch(() => {});
    throw refused(error, 'snapshot.failed', what);
  }
}
