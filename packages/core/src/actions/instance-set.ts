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
import { patched } from '../domain/limits/wanted.ts';
import { requireAttached } from './disk-work.ts';
import { requireNic } from './nic-work.ts';

type SpecUpdate = NonNullable<InstanceUpdate['spec']>;

/** Whether a change is of what limits do. */
export function isOfLimits({ spec = {} }: InstanceUpdate): boolean {
  const { restart: _restart, autostart: _autostart, tuning: _tuning, devices: _devices, ...others } = spec;
  const { vsock: _vsock, ...rest } = others;
  return Object.values(rest).some((value) => value !== undefined);
}

/** Throws `limit.invalid`, `volume.not_attached`, `network.no_such_nic`. Whether the host and the policy allow it is looked at where it is recorded. */
export function changedSpec(instance: Instance, input: SpecUpdate): Instance['spec'] {
  const { spec } = instance;
  const { restart, autostart, cpus, memoryMib, maxCpus, maxMemoryMib, policy, limits, disks, nics } = input;
  const { tuning, devices, vsock } = input;
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
    // No is what it is without a word.
    vsock: (vsock ?? spec.vsock) || undefined,
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
