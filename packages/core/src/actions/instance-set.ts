/** Changes of what an instance is to be: the record with them, and what is looked at before it is stored. */
import {
  type Disk,
  type Instance,
  type InstanceUpdate,
  type Nic,
  type Tuning,
  type TuningPatch,
  WirtError,
} from '@wirt/api';
import { qemuOverheadMib } from '../domain/launch-plan.ts';
import { patched } from '../domain/limits/wanted.ts';
import { promisedMemoryMib, roomFor } from './admission.ts';
import { requireAttached } from './disk-work.ts';
import { requireNic } from './nic-work.ts';
import type { Shared } from './parts.ts';

type SpecUpdate = NonNullable<InstanceUpdate['spec']>;

/** Whether a change is of what limits do. */
export function isOfLimits({ spec = {} }: InstanceUpdate): boolean {
  const { restart: _restart, autostart: _autostart, tuning: _tuning, devices: _devices, ...rest } = spec;
  return Object.values(rest).some((value) => value !== undefined);
}

/** Throws `limit.invalid`, `volume.not_attached`, `network.no_such_nic`. Whether the host and the policy allow it is looked at where it is recorded. */
export function changedSpec(instance: Instance, input: SpecUpdate): Instance['spec'] {
  const { spec } = instance;
  const { restart, autostart, cpus, memoryMib, maxCpus, maxMemoryMib, policy, limits, disks, nics } = input;
  const { tuning, devices } = input;
  const changed: Instance['spec'] = {
    ...spec,
    restart: restart ?? spec.restart,
    autostart: autostart ?? spec.autostart,
    cpus: cpus ?? spec.cpus,
    memoryMib: memoryMib ?? spec.memoryMib,
    ...taken(spec, 'maxCpus', maxCpus),
    ...taken(spec, 'maxMemoryMib', maxMemoryMib),
    ...taken(spec, 'policy', policy),
    ...(limits === undefined ? {} : { limits: patched(spec.limits, limits) }),
    ...(tuning === undefined ? {} : { tuning: withTuning(spec.tuning, tuning) }),
    ...taken(spec, 'devices', devices),
    disks: withDisks(instance, disks ?? {}),
    nics: withNics(instance, nics ?? {}),
  };
  requireMax(instance.name, input, changed);
  return changed;
}

/** Null takes it out; what is absent stays. */
function taken<K extends 'maxCpus' | 'maxMemoryMib' | 'policy' | 'devices'>(
  spec: Instance['spec'],
  key: K,
  value: Instance['spec'][K] | null,
): Partial<Pick<Instance['spec'], K>> {
  // One key, which is K; undefined is left out of the stored record.
  return { [key]: value === undefined ? spec[key] : (value ?? undefined) } as Partial<
    Pick<Instance['spec'], K>
  >;
}

/** In force from the next start. Undefined where nothing of its own is left. */
function withTuning(before: Tuning | undefined, patch: TuningPatch | null): Tuning | undefined {
  if (patch === null) return undefined;
  const kept = Object.entries({ ...before, ...patch }).filter(
    ([, value]) => value !== null && value !== undefined,
  );
  // Each field is of the schema of its own name, and null is taken out.
  return kept.length === 0 ? undefined : Object.fromEntries(kept);
}

function withDisks(instance: Instance, changes: NonNullable<SpecUpdate['disks']>): Disk[] {
  for (const name of Object.keys(changes)) {
    if (requireAttached(instance, name).device === 'cdrom')
      throw new WirtError(
        'limit.invalid',
        `Disk ${name} of ${instance.name} is a CD drive, which has no limits.`,
      );
  }
  return instance.spec.disks.map((disk) => {
    const change = changes[disk.name];
    if (change === undefined || disk.device === 'cdrom') return disk;
    const { limits: before, ...rest } = disk;
    const limits = change.limits === null ? {} : patched<NonNullable<typeof before>>(before, change.limits);
    return Object.keys(limits).length === 0 ? rest : { ...rest, limits };
  });
}

function withNics(instance: Instance, changes: NonNullable<SpecUpdate['nics']>): Nic[] {
  for (const name of Object.keys(changes)) requireNic(instance, name);
  return instance.spec.nics.map((nic) => {
    const change = changes[nic.name];
    if (change === undefined) return nic;
    const { limits: before, ...rest } = nic;
    const limits = change.limits === null ? {} : patched<NonNullable<typeof before>>(before, change.limits);
    return Object.keys(limits).length === 0 ? rest : { ...rest, limits };
  });
}

function requireMax(name: string, input: SpecUpdate, { cpus, memoryMib }: Instance['spec']): void {
  const below = (what: string, max: number | null | undefined, now: number, option: string): void => {
    if (max === undefined || max === null || max >= now) return;
    throw new WirtError('limit.invalid', `${name} cannot have at most ${max} ${what}: it has ${now}.`, {
      hint: `Lower both: \`wirt set ${name} ${option}=${max} max-${option}=${max}\`.`,
    });
  };
  below('vCPUs', input.maxCpus, cpus, 'cpus');
  below('MiB of memory', input.maxMemoryMib, memoryMib, 'memory');
}

/** In which running guests are promised more of the host's memory. */
export const memoryLane = 'memory';

/** More memory for a guest that runs is taken from the host as for one that starts. Throws `host.insufficient_memory`. */
export async function requireGrowth(
  shared: Shared,
  { name, spec, status }: Instance,
  changed: Instance['spec'],
): Promise<void> {
  const grownMib = changed.memoryMib - spec.memoryMib;
  if (grownMib <= 0 || status.process === undefined || changed.overcommit) return;
  const memory = await shared.host.memory();
  const promisedMib = promisedMemoryMib(shared.instances.after(), new Map());
  const { memoryOvercommit } = shared.settings.value;
  const { totalMib, availableMib: leftMib } = roomFor(memory, promisedMib, memoryOvercommit);
  if (grownMib <= leftMib) return;
  throw new WirtError(
    'host.insufficient_memory',
    `Instance ${name} would need ${grownMib} MiB more, and the host has ${leftMib} MiB available of ${totalMib} MiB; ` +
      `${promisedMib} MiB are promised to running guests, ${qemuOverheadMib} MiB of each for its QEMU.`,
    { hint: 'Give it less, or stop other guests.', details: { grownMib, leftMib, totalMib, promisedMib } },
  );
}
