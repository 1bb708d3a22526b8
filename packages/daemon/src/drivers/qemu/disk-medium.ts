// Media in the CD drives of a running guest. The new medium is opened before the old one is taken out, so that one that
// cannot be opened changes nothing.
import { WirtError } from '@wirt/api';
import type { DiskSource } from '@wirt/core';
import { noAbort } from './control.ts';
import { dropUnused, freeNumber, readBlockState } from './disk-chain.ts';
import { addNodes, type DiskContext, refused } from './disk-context.ts';
import { deviceOf } from './disk-names.ts';
import { deviceNode } from './disk-nodes.ts';

export async function changeMedium(
  context: DiskContext,
  name: string,
  source: DiskSource | undefined,
  signal: AbortSignal,
): Promise<void> {
  const { id, ask } = context;
  const { drives } = await readBlockState(ask, signal);
  if (!drives.has(name)) throw new WirtError('volume.not_attached', `Instance ${id} has no drive ${name}.`);
  await dropUnused(ask);
  const number = await freeNumber(ask, signal);
  const nodes = { number, throttled: false };
  const drive = { id: deviceOf(name) };
  try {
    await addNodes(context, source, { ...nodes, readOnly: true }, signal);
    // By force: a guest that has locked its tray is told, and loses the medium.
    await ask('blockdev-open-tray', { ...drive, force: true }, noAbort);
    await ask('blockdev-remove-medium', drive, noAbort);
    if (source !== undefined) {
      await ask('blockdev-insert-medium', { ...drive, 'node-name': deviceNode(source, nodes) }, noAbort);
      await ask('blockdev-close-tray', drive, noAbort);
    }
  } catch (error) {
    const what = `The medium in drive ${name} of instance ${id} could not be changed.`;
    throw refused(error, 'instance.state_conflict', what);
  } finally {
    await dropUnused(ask).catch(() => {});
  }
}
