/** What a guest got of the host, setting by setting, and why; of one that does not run, what it would get. */
import { type Instance, type InstancePlacement, type InstanceTuning, WirtError } from '@wirt/api';
import { explainTuning, profileName, type TuningGround } from '../domain/tuning/explain.ts';
import { devicesToTell } from './instance-devices.ts';
import { wantedOf } from './limits.ts';
import type { Shared } from './parts.ts';

const inspectMs = 30_000;

export async function tuningOf(shared: Shared, instance: Instance): Promise<InstanceTuning> {
  const { status, spec, name } = instance;
  const running = status.process !== undefined;
  const host = await shared.host.inspect(AbortSignal.timeout(inspectMs));
  const accelerator = status.accelerator ?? (await shared.host.accelerator(spec.accelerator));
  const { placement, refusal } = running ? { placement: status.placement } : await preview(shared, instance);
  const { group } = await wantedOf(shared, instance);
  const settings = explainTuning(instance, {
    host,
    networkDriver: shared.network.driver,
    accelerator,
    whyAccelerator: host.kvm.why,
    placement,
    weight: group.weight,
    refusal,
    devices: await devices(shared, instance, placement?.nodes ?? []),
  });
  return { instance: name, running, profile: profileName(instance), settings };
}

async function devices(
  shared: Shared,
  instance: Instance,
  nodes: readonly number[],
): Promise<NonNullable<TuningGround['devices']>> {
  try {
    return await devicesToTell(shared, instance, nodes);
  } catch (error) {
    if (!(error instanceof WirtError)) throw error;
    return { message: error.message, hint: error.hint ?? '' };
  }
}

/** Of the next start, as things are now. */
async function preview(
  { placing }: Shared,
  instance: Instance,
): Promise<{ placement?: InstancePlacement | undefined; refusal?: { message: string; hint: string } }> {
  try {
    return { placement: (await placing.preview(instance))?.record };
  } catch (error) {
    if (!(error instanceof WirtError)) throw error;
    return { refusal: { message: error.message, hint: error.hint ?? '' } };
  }
}
