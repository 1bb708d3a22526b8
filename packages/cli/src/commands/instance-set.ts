/** `wirt set`: changes anything of an instance in one request, and says of each value whether it is in force, and if not, why and when. */
import type { Instance, InstanceUpdate } from '@wirt/api';
import { WirtError } from '@wirt/api/errors';
import { type Commands, type Context, command, type Outcome } from '../command.ts';
import { keyLines, keySpecs } from '../limit-keys.ts';
import {
  type Assignment,
  devicesAfter,
  labelsAfter,
  pinsAfter,
  readAssignments,
  updateOf,
} from '../limit-patch.ts';
import { usageError } from '../parse.ts';
import type { View } from '../print.ts';
import { setRows } from './instance-set-view.ts';

const words = { command: 'set', for: 'instance' } as const;
/** For labels, pins and devices, which are read, changed and written: somebody else may be at it too. */
const attempts = 5;

const set = command({
  arguments: {
    name: { summary: 'Name or id of the instance', complete: 'instance', optional: true },
    settings: {
      summary: 'KEY=VALUE; an empty value takes it out, none is no limit. Without any, the keys are printed',
      many: true,
      optional: true,
      complete: 'setting',
    },
  },
  options: {},
  examples: [
    {
      line: 'wirt set demo cpu.limit=1.5 memory=2G',
      does: 'In force at once, or it says why not, and when it will be.',
    },
    {
      line: 'wirt set demo disk.read=10MiB:50MiB/10s network.egress=100Mbit',
      does: 'All disks together read 10 MiB a second, and five times that for 10 s; each card sends 12.5 MB a second.',
    },
    {
      line: 'wirt set demo profile=latency pin.0=2-3 device.gpu0=0000:01:00.0 device.vf0=pool=fast',
      does: 'How it is fitted to the hardware, and what it has of it, from its next start on; empty values take out.',
    },
  ],
  notes: [
    'Keys:',
    ...keyLines(keySpecs),
    '',
    'When one value is wrong, none is changed. cpu.limit is cpu.cores.',
  ],
  async run(context, { args }): Promise<Outcome> {
    const { name, settings } = args;
    if (name?.includes('=') === true)
      throw usageError('set', `wirt set needs the name of an instance before ${JSON.stringify(name)}.`);
    if (name === undefined || settings.length === 0) return { view: keysView() };
    const assignments = readAssignments(settings, words);
    const instance = await change(context, name, assignments);
    return { view: changedView(instance, assignments) };
  },
});

function keysView(): View {
  return {
    data: keySpecs.map(({ key, summary, unit, when, acts, floor }) => ({
      key,
      summary,
      unit,
      when,
      acts,
      floor,
    })),
    names: keySpecs.map(({ key }) => key),
    table: () => [{ kind: 'lines', lines: keyLines(keySpecs) }],
  };
}

async function change(context: Context, name: string, assignments: readonly Assignment[]): Promise<Instance> {
  const body = updateOf(assignments);
  if (!assignments.some(({ spec }) => ['label', 'pin', 'device'].includes(spec.place.in)))
    return patch(context, name, body);
  for (let attempt = 1; ; attempt += 1) {
    const before = await context.client.call('GET /v1/instances/{instance}', { params: { instance: name } });
    const labels = labelsAfter(assignments, before.labels);
    const vcpuPins = pinsAfter(assignments, before.spec.tuning?.vcpuPins);
    const devices = devicesAfter(assignments, before.spec.devices);
    const whole: InstanceUpdate = {
      ...body,
      ...(labels && { labels }),
      ...((vcpuPins !== undefined || devices !== undefined) && {
        spec: {
          ...body.spec,
          ...(vcpuPins !== undefined && { tuning: { ...body.spec?.tuning, vcpuPins } }),
          ...(devices !== undefined && { devices }),
        },
      }),
    };
    try {
      return await patch(context, before.id, whole, before.revision);
    } catch (error) {
      const again = error instanceof WirtError && error.code === 'request.revision_mismatch';
      if (!again || attempt === attempts) throw error;
    }
  }
}

/** Hot-plug waits for the guest: longer than other requests. */
const answerMs = 120_000;

function patch(
  context: Context,
  instance: string,
  body: InstanceUpdate,
  revision?: number,
): Promise<Instance> {
  return context.clientWith({ answerMs }).call('PATCH /v1/instances/{instance}', {
    params: { instance },
    body,
    ...(revision === undefined ? {} : { headers: { 'if-match': `"${revision}"` } }),
  });
}

function changedView(instance: Instance, assignments: readonly Assignment[]): View {
  return {
    data: instance,
    names: [instance.name],
    table: () => [
      {
        kind: 'table',
        columns: ['KEY', 'WANTED', 'IN FORCE', 'WHEN'],
        rows: setRows(instance, assignments),
        empty: '',
      },
    ],
  };
}

export const commands: Commands = { set };
