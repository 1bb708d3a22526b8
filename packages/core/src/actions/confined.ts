/** An identity and a control group for as long as a work of copying takes, so that foreign bytes meet QEMU's tools as guests do. */

import type { CopyWork } from '../ports/volume-pool.ts';
import type { Progress } from './operation-runner.ts';
import type { Shared } from './parts.ts';

const cleanUpMs = 30_000;

/** Runs `work` confined under the operation's id; what a crash leaves of it is cleared by recovery. */
export async function confined<T>(
  { sandbox, resources, logger }: Pick<Shared, 'sandbox' | 'resources' | 'logger'>,
  progress: Pick<Progress, 'id' | 'signal' | 'stage'>,
  stage: string,
  work: (copy: CopyWork) => Promise<T>,
): Promise<T> {
  const { id, signal } = progress;
  progress.stage(stage);
  try {
    const identity = await sandbox.claim(id, { kvm: false });
    const controlGroup = await resources.create(id);
    return await work({
      confinement: { identity, controlGroup },
      signal,
      onProgress: (done, total) => progress.stage(stage, { done, total, unit: 'bytes' }),
    });
  } finally {
    try {
      await resources.remove(id, AbortSignal.timeout(cleanUpMs));
      await sandbox.release(id);
    } catch (error) {
      logger.error('copy.clean_up_failed', { operation: id, error });
    }
  }
}
