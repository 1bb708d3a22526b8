// Whether a vCPU was ever taken out of a running QEMU that emulates: one that is plugged in after that ends QEMU 7.2 ("double free or
// corruption", measured; TCG’s contexts are per thread and not given back, KVM has none). It is noted in QEMU itself, by an object without effect, which every later daemon finds.
import { WirtError } from '@wirt/api';
import { type Ask, isRefusal, noAbort } from './control.ts';

const mark = 'vcpu-gone';

async function isMarked(ask: Ask, signal: AbortSignal): Promise<boolean> {
  return (await ask('qom-list', { path: '/objects' }, signal)).some(({ name }) => name === mark);
}

/** Before it is taken out, so that none is missed by a daemon that dies. What is returned takes the mark back, for one that stays. */
export async function markGone(ask: Ask, signal: AbortSignal): Promise<() => Promise<void>> {
  if (await isMarked(ask, signal)) return async () => {};
  await ask('object-add', { 'qom-type': 'throttle-group', id: mark }, noAbort);
  return async () => {
    await ask('object-del', { id: mark }, noAbort).catch((error: unknown) => {
      if (!isRefusal(error)) throw error;
    });
  };
}

/** Throws `limit.unsupported`. */
export async function assertCanPlug(
  { id, ask }: { readonly id: string; readonly ask: Ask },
  signal: AbortSignal,
): Promise<void> {
  if (!(await isMarked(ask, signal)) || (await ask('query-kvm', {}, signal)).enabled) return;
  throw new WirtError('limit.unsupported', `Instance ${id} cannot be given another vCPU while it runs.`, {
    cause: new Error(
      'One was taken out, and QEMU’s emulation (TCG) does not survive another one after that.',
    ),
    hint: `It can from its next start on: \`wirt stop ${id}\`, \`wirt start ${id}\`.`,
  });
}
