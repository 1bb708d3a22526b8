/** What an instance is to be held to, on this host: its own limits and its policy's, checked before anything is changed. */
import { type Instance, type Policy, WirtError } from '@wirt/api';
import { requireGrowable, requireSound } from '../domain/limits/floors.ts';
import type { GroupLimitKey } from '../domain/limits/group-limits.ts';
import { type Ground, type WantedLimits, wantedLimits } from '../domain/limits/wanted.ts';
import type { Shared } from './parts.ts';

/** Where policies are found: as they are, or as they are to be. */
export interface Policies {
  readonly policies: { find(ref: string, project: string): Policy | undefined };
}

export function policyOf(
  { policies }: Policies,
  { spec, project }: Pick<Instance, 'spec' | 'project'>,
): Policy | undefined {
  return spec.policy === undefined ? undefined : policies.find(spec.policy, project);
}

export async function groundOf({ host }: Pick<Shared, 'host'>, { spec, status }: Instance): Promise<Ground> {
  // One that the host does not have is for its start to refuse.
  const accelerator =
    status.accelerator ?? (await host.accelerator(spec.accelerator).catch(() => 'tcg' as const));
  return { accelerator, hostMib: (await host.memory()).totalMib, run: status.run };
}

/** Where nothing was asked for, nothing has to be known of the host. */
const anywhere: Ground = { accelerator: 'tcg', hostMib: 0 };

export function saysNothing({ spec }: Instance, policy: Policy | undefined): boolean {
  const parts = [...spec.disks.filter(({ device }) => device === 'disk'), ...spec.nics];
  return (
    policy === undefined &&
    spec.limits === undefined &&
    parts.every((part) => !('limits' in part) || part.limits === undefined)
  );
}

export async function wantedOf(
  shared: Pick<Shared, 'host' | 'policies'>,
  instance: Instance,
  policy = policyOf(shared, instance),
): Promise<WantedLimits> {
  const ground = saysNothing(instance, policy) ? anywhere : await groundOf(shared, instance);
  return wantedLimits(instance, policy, ground);
}

/** Throws `limit.invalid`, `limit.below_floor`, `limit.unsupported`; changes nothing. */
export async function requireLimits(
  shared: Pick<Shared, 'host' | 'policies' | 'resources' | 'network'>,
  instance: Instance,
  policy = policyOf(shared, instance),
): Promise<WantedLimits> {
  requireGrowable(instance);
  if (saysNothing(instance, policy)) return wantedLimits(instance, policy, anywhere);
  const ground = await groundOf(shared, instance);
  const wanted = wantedLimits(instance, policy, ground);
  requireSound(instance, wanted, ground);
  // The keys of GroupLimits, which Object.keys forgets.
  for (const key of Object.keys(wanted.group) as GroupLimitKey[]) {
    const refused = shared.resources.refuses(key);
    if (refused !== undefined) throw unsupported(instance.name, groupKeys[key], refused);
  }
  const refused = shared.network.refusesLimits();
  const [nic] = Object.entries(wanted.nics).find(([, limits]) => Object.keys(limits).length > 0) ?? [];
  if (refused !== undefined && nic !== undefined) throw unsupported(instance.name, `network.${nic}`, refused);
  return wanted;
}

/** As `wirt set` calls them. */
const groupKeys = {
  cores: 'cpu.cores',
  burstMs: 'cpu.burst',
  weight: 'cpu.weight',
  ceilingMib: 'memory.ceiling',
  reservationMib: 'memory.reservation',
  swapMib: 'memory.swap',
  ioWeight: 'disk.weight',
} as const satisfies Record<GroupLimitKey, string>;

function unsupported(
  name: string,
  key: string,
  { why, hint }: { readonly why: string; readonly hint: string },
): WirtError {
  return new WirtError('limit.unsupported', `This host cannot keep ${key} of ${name}: ${why}`, {
    hint,
    details: { key },
  });
}

export function isUnlimited({ group, all, each, nics, balloonMib }: WantedLimits): boolean {
  const parts = [group, all, ...Object.values(each), ...Object.values(nics)];
  return balloonMib === undefined && parts.every((part) => Object.keys(part).length === 0);
}
