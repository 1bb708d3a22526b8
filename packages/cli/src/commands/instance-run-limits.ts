/** The limits of `wirt run`: `--policy`, and `--set KEY=VALUE` with the keys of `wirt set` that have no option of their own. */
import type { CallInput } from '@wirt/api/client';
import type { OptionSpecs, OptionValues } from '../command.ts';
import type { Assignment } from '../limit-patch.ts';
import { usageError } from '../parse.ts';

type Spec = CallInput<'POST /v1/instances'>['body']['spec'];

export const limitOptions = {
  policy: { kind: 'text', value: 'NAME', complete: 'policy', summary: 'Limits that it shares with others' },
  set: {
    kind: 'text',
    value: 'KEY=VALUE',
    many: true,
    complete: 'setting',
    summary: 'A limit of its own, as of `wirt set`: cpu.limit=1.5, disk.read=10MiB, network.egress=100Mbit',
  },
} as const satisfies OptionSpecs;

type LimitOptions = OptionValues<typeof limitOptions>;

/** What has an option of its own, and which. */
const ownOptions: Readonly<Record<string, string>> = {
  cpus: '--cpus',
  memory: '--memory',
  policy: '--policy',
  restart: '--restart',
  autostart: '--autostart',
  name: '--name',
  'label.KEY': '--label',
  profile: '--profile',
  hugepages: '--hugepages',
  placement: '--placement',
  dedicated: '--dedicated',
  'pin.VCPU': '--pin',
  'pin.emulator': '--pin-emulator',
  'pin.iothreads': '--pin-iothreads',
  topology: '--topology',
};

/** Reads them, and gives what adds them to a spec, to its disks and cards too; that refuses names that there is no disk or card of. */
export async function limitsGiven(given: LimitOptions): Promise<(spec: Spec) => Spec> {
  const policy = given.policy === undefined ? {} : { policy: given.policy };
  if (given.set.length === 0) return (spec) => ({ ...spec, ...policy });
  const { limitsByName, limitsOf, readAssignments, updateOf } = await import('../limit-patch.ts');
  const assignments = readAssignments(given.set, { command: 'run', for: 'instance' });
  for (const each of assignments) requireNew(each);
  const limits = limitsOf(assignments);
  const { disks, nics } = limitsByName(assignments);
  const { maxCpus, maxMemoryMib } = updateOf(assignments).spec ?? {};
  return (spec) => ({
    ...spec,
    ...policy,
    ...(maxCpus == null ? {} : { maxCpus }),
    ...(maxMemoryMib == null ? {} : { maxMemoryMib }),
    ...(Object.keys(limits).length === 0 ? {} : { limits }),
    ...(disks.size === 0 ? {} : { disks: limitedDisks(spec.disks ?? [], disks) }),
    ...(nics.size === 0 ? {} : { nics: limitedNics(spec.nics ?? [{}], nics) }),
  });
}

function requireNew({ key, value, spec }: Assignment): void {
  const option = ownOptions[spec.key];
  if (option !== undefined)
    throw usageError(
      'run',
      `--set does not take ${key}, which has an option of its own.`,
      `Give it by ${option}.`,
    );
  if (value === null)
    throw usageError('run', `--set ${key}= takes out a value, and a new instance has none.`);
}

type Disks = NonNullable<Spec['disks']>;
type Nics = NonNullable<Spec['nics']>;

function limitedDisks(disks: Disks, limits: ReadonlyMap<string, object>): Disks {
  for (const name of limits.keys()) {
    if (disks.some((disk) => disk.name === name && disk.device === 'disk')) continue;
    throw usageError(
      'run',
      `--set disk.${name}.… is for a disk of --volume or --new-disk, and none of them is ${name}.`,
      'They are disk1, disk2, … in their order. For the root disk of an image: --set each-disk.…, or `wirt set` later.',
    );
  }
  return disks.map((disk) =>
    disk.device === 'disk' ? { ...disk, ...limited(limits.get(disk.name)) } : disk,
  );
}

/** Without --network there is one on “default”. */
function limitedNics(nics: Nics, limits: ReadonlyMap<string, object>): Nics {
  const names = nics.map((_, at) => `nic${at}`);
  const unknown = [...limits.keys()].find((name) => !names.includes(name));
  if (unknown !== undefined)
    throw usageError(
      'run',
      `--set network.${unknown}.… is for a card, and none is ${unknown}.`,
      names.length === 0 ? 'It has no card.' : `Its cards: ${names.join(', ')}.`,
    );
  return nics.map((nic, at) => ({ ...nic, ...limited(limits.get(`nic${at}`)) }));
}

function limited(limits: object | undefined): { limits?: object } {
  return limits === undefined ? {} : { limits };
}
