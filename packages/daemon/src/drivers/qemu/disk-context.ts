// What the changes of a running guest's disks have in common: how QEMU is asked, how nodes are added, how its refusals are told.
import { WirtError } from '@wirt/api';
import type { DiskSource } from '@wirt/core';
import { type Ask, isRefusal, noAbort } from './control.ts';
import { type Drive, readBlockState } from './disk-chain.ts';
import { type AioChoice, type BlockNode, diskNodes, type NodeOptions } from './disk-nodes.ts';
import { saysLocked } from './locked.ts';

export interface DiskContext {
  readonly id: string;
  readonly ask: Ask;
  chooseAio(): Promise<AioChoice>;
  /** One change of QEMU's block nodes at a time, so that none takes another's for left over. */
  exclusively<T>(work: () => Promise<T>): Promise<T>;
}

/** A disk that is plugged in and has a layer. */
export async function driveOf(
  { id, ask }: Pick<DiskContext, 'id' | 'ask'>,
  name: string,
  signal: AbortSignal,
): Promise<Drive & { readonly top: NonNullable<Drive['top']> }> {
  const drive = (await readBlockState(ask, signal)).drives.get(name);
  if (drive?.top !== undefined) return { ...drive, top: drive.top };
  throw new WirtError('volume.not_attached', `Instance ${id} has no disk ${name} plugged in.`);
}

/** Adds the nodes of a source, from the base on; those that are there when one fails are the caller's to drop. */
export async function addNodes(
  { ask, chooseAio }: Pick<DiskContext, 'ask' | 'chooseAio'>,
  source: DiskSource | undefined,
  options: Omit<NodeOptions, 'aio'>,
  signal: AbortSignal,
): Promise<void> {
  const nodes = source === undefined ? [] : diskNodes(source, { ...options, aio: await chooseAio() });
  await addAll(ask, nodes, signal);
}

export async function addAll(ask: Ask, nodes: readonly BlockNode[], signal: AbortSignal): Promise<void> {
  for (const node of nodes) {
    signal.throwIfAborted();
    await ask('blockdev-add', node, noAbort);
  }
}

/** What QEMU refuses, as an error of the catalogue; anything else as it is. */
export function refused(
  error: unknown,
  code:
    | 'instance.state_conflict'
    | 'volume.failed'
    | 'volume.detach_refused'
    | 'network.detach_refused'
    | 'snapshot.failed'
    | 'limit.failed',
  message: string,
  hint?: string,
): unknown {
  if (!isRefusal(error)) return error;
  const options = { cause: error, ...(hint === undefined ? {} : { hint }) };
  return new WirtError(
    saysLocked(error.desc) && code !== 'snapshot.failed' && code !== 'limit.failed' ? 'volume.locked' : code,
    message,
    options,
  );
}
