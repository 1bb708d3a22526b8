/** What people see of an import before it is done: what will be made, and every setting that is not carried over as it was. */
import type { ImportNote, ImportPlan } from '@wirt/api';
import type { Block, Cell } from '../table.ts';
import { mibText, sizeText } from '../units.ts';

/** In this order: what is lost comes first. */
const effects = [
  ['dropped', 'Not carried over'],
  ['changed', 'Changed'],
  ['hint', 'Hints'],
] as const satisfies readonly (readonly [ImportNote['effect'], string])[];

export function planBlocks(plan: ImportPlan, tense: 'would be' | 'will be'): Block[] {
  const { nics, notes } = plan;
  return [
    { kind: 'lines', lines: [`Taken for: ${plan.source}. This ${tense} made:`] },
    {
      kind: 'fields',
      fields: [
        ['Name', { text: plan.name, tone: 'bold' }],
        ['CPUs', String(plan.cpus)],
        ['Memory', mibText(plan.memoryMib)],
        ['Firmware', plan.firmware],
        ['Network', nics.length === 0 ? 'none' : nics.map(nicText).join(', ')],
        ['Pool', plan.neededBytes === 0 ? plan.pool : `${plan.pool}, at most ${sizeText(plan.neededBytes)}`],
      ],
    },
    {
      kind: 'table',
      columns: ['DISK', 'BUS', 'BOOT', 'SIZE', 'FORMAT', 'FROM'],
      rows: plan.disks.map(diskRow),
      empty: 'No disks.',
    },
    ...noteBlocks(notes),
    ...(notes.length === 0 ? [{ kind: 'lines', lines: ['Every setting is carried over.'] } as const] : []),
  ];
}

/** What is lost, what is changed, and what to know. */
export function noteBlocks(notes: readonly ImportNote[]): Block[] {
  return effects.map(([effect, title]) =>
    noteBlock(
      title,
      notes.filter((note) => note.effect === effect),
    ),
  );
}

function nicText({ model, mac }: ImportPlan['nics'][number]): string {
  return mac === undefined ? model : `${model} ${mac}`;
}

function diskRow(disk: ImportPlan['disks'][number]): Cell[] {
  return [
    disk.name,
    disk.bus,
    disk.bootOrder === undefined ? '-' : String(disk.bootOrder),
    disk.sizeBytes === undefined ? '-' : sizeText(disk.sizeBytes),
    disk.device === 'cdrom' ? 'CD drive' : (disk.format ?? '-'),
    disk.file ?? '-',
  ];
}

function noteBlock(title: string, notes: readonly ImportNote[]): Block {
  return {
    kind: 'table',
    title,
    columns: ['SETTING', 'VALUE', 'WHY'],
    rows: notes.map(({ setting, value, reason }) => [setting, value, reason]),
    empty: '',
  };
}

/** The notes as plain lines. */
export function noteLines({ notes }: ImportPlan): string[] {
  return effects.flatMap(([effect]) =>
    notes
      .filter((note) => note.effect === effect)
      .map(({ setting, value, reason }) => `${effect}: ${setting} = ${value}: ${reason}`),
  );
}
