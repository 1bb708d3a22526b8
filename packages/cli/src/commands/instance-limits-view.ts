/** What people see of an instance's limits: each value that is wanted beside the one that was read back from where it acts. */
import type { Instance, LimitGap, Policy } from '@wirt/api';
import { keySpecs } from '../limit-keys.ts';
import type { LimitValue } from '../limit-patch.ts';
import { effectiveValues, foundAt, gapKey, gapText, valueText, wantedValues } from '../limit-values.ts';
import type { Block, Cell } from '../table.ts';
import { ageText, mibText } from '../units.ts';
import { driftedCell, pendingCell } from './instance-set-view.ts';

/** Nothing where there is neither a limit nor a policy. */
export function limitBlocks(instance: Instance, policy: Policy | undefined, nowMs: number): Block[] {
  const { spec, status } = instance;
  const shared = policy === undefined ? undefined : { name: policy.name, limits: policy.spec.limits };
  const rows = limitRows(instance, shared);
  const unknown = spec.policy !== undefined && policy === undefined;
  const repairedAt = status.limits?.repairedAt;
  const overheadMib = status.limits?.effective.memory?.overheadMib;
  return [
    {
      kind: 'table',
      title: 'Limits',
      columns: ['KEY', 'WANTED', 'FROM', status.limits === undefined ? '' : 'IN FORCE', ''],
      rows,
      empty: '',
    },
    {
      kind: 'fields',
      fields: [
        ...(spec.policy === undefined ? [] : [['Policy', spec.policy] as const]),
        ...(unknown ? [['', 'Its values could not be read, and are not above.'] as const] : []),
        ...(overheadMib === undefined
          ? []
          : [['QEMU’s share of the ceiling', mibText(overheadMib)] as const]),
        ...(repairedAt === undefined
          ? []
          : [['Mended last', `${repairedAt} (${ageText(repairedAt, nowMs)} ago)`] as const]),
      ],
    },
  ];
}

function limitRows(instance: Instance, policy: Parameters<typeof wantedValues>[1]): Cell[][] {
  const { limits } = instance.status;
  const wanted = wantedValues(instance, policy);
  const effective = limits === undefined ? new Map<string, never>() : effectiveValues(limits.effective);
  const { drifted = [], pending = [] } = limits ?? {};
  const sizes = ['cpus', 'memory'].filter((key) => effective.has(key));
  const keys = new Set([
    ...sizes,
    ...wanted.keys(),
    ...effective.keys(),
    ...[...drifted, ...pending].map(gapKey),
  ]);
  return [...keys]
    .toSorted((one, other) => orderOf(one) - orderOf(other))
    .map((key) => {
      const [asked, found] = [wanted.get(key), foundAt(effective, key)];
      const gaps = { drifted: drifted.find(about(key)), pending: pending.find(about(key)) };
      const gap = gaps.drifted ?? gaps.pending;
      return [
        key,
        asked === undefined ? wantedWithout(instance, key, gap) : valueText(key, asked.value),
        asked?.from ?? (sizes.includes(key) ? 'own' : ''),
        limits === undefined ? '' : foundText(key, found, gap),
        noteOf(gaps),
      ];
    });
}

function about(key: string): (gap: LimitGap) => boolean {
  return (gap) => gapKey(gap) === key;
}

/** The size is part of the spec itself; the rest has what the host gives. */
function wantedWithout({ spec }: Instance, key: string, gap: LimitGap | undefined): string {
  // A balloon that was asked for wants less memory than the spec has.
  if (gap !== undefined) return gapText(gap.key, gap.wanted);
  if (key === 'cpus') return String(spec.cpus);
  return key === 'memory' ? valueText(key, spec.memoryMib) : '-';
}

function foundText(key: string, found: LimitValue | undefined, gap: LimitGap | undefined): string {
  if (found !== undefined) return valueText(key, found);
  return gap?.found === undefined ? 'none' : gapText(gap.key, gap.found);
}

function noteOf(gaps: {
  readonly drifted?: LimitGap | undefined;
  readonly pending?: LimitGap | undefined;
}): Cell {
  if (gaps.drifted !== undefined) return driftedCell(gaps.drifted);
  return gaps.pending === undefined ? '' : pendingCell(gaps.pending);
}

/** That of the table of keys; names of disks and cards keep theirs. */
function orderOf(key: string): number {
  const general = key.replace(/^(disk|network)\.[^.]+\.(?=[a-z])/, (_, scope) =>
    scope === 'disk' ? 'disk.NAME.' : 'network.NIC.',
  );
  return keySpecs.findIndex((spec) => spec.key === general || spec.key === key);
}
