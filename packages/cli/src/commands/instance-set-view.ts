/** What became of each value that was set: what is in force is what was read back, and never what was asked for. */
import type { Instance, LimitGap, LimitsStatus } from '@wirt/api';
import { deviceText } from '../device-value.ts';
import { type Assignment, limitText } from '../limit-patch.ts';
import {
  concerns,
  effectiveValues,
  foundAt,
  gapKey,
  gapText,
  type Values,
  valueText,
} from '../limit-values.ts';
import type { Cell } from '../table.ts';
import { placedValue } from './tuning-view.ts';

/** A row for each value, and one for each gap of a policy that was given. */
export function setRows(instance: Instance, assignments: readonly Assignment[]): Cell[][] {
  return assignments.flatMap((each) => rowsOf(instance, each));
}

function rowsOf(instance: Instance, assignment: Assignment): Cell[][] {
  const { key, spec } = assignment;
  const wanted = wantedText(assignment);
  if (spec.when === 'record') return [[key, wanted, '', now]];
  if (spec.place.in === 'tuning' || spec.place.in === 'pin') return [tuningRow(instance, assignment, wanted)];
  if (spec.place.in === 'device') return [deviceRow(instance, assignment, wanted)];
  if (key === 'vsock') return [vsockRow(instance, assignment, wanted)];
  const { limits } = instance.status;
  if (limits === undefined) return [[key, wanted, '-', later(instance)]];
  const gaps = gapsOf(limits, key);
  if (key === 'policy')
    return [[key, wanted, '', gaps.length === 0 ? now : 'see below'], ...gaps.map(gapRow)];
  const [gap] = gaps;
  const inForce = inForceText(key, effectiveValues(limits.effective), gap?.gap);
  if (gap === undefined && !hasPart(instance, key)) return [[key, wanted, '-', noPart(key)]];
  if (gap !== undefined) return [[key, wanted, inForce, gap.when], ...gaps.slice(1).map(gapRow)];
  if (spec.when === 'start') return [[key, wanted, inForce, { text: 'at its next start', tone: 'warn' }]];
  return [[key, wanted, inForce, isMissing(assignment, inForce) ? unseen : now]];
}

/** A guest keeps the place that it was given until it is started again. */
function tuningRow({ status }: Instance, { key, value }: Assignment, wanted: string): Cell[] {
  const { placement } = status;
  const inForce = placement === undefined ? '-' : (placedValue(placement, key) ?? '');
  const isSame = value !== null && inForce === wanted;
  const down = ['stopped', 'crashed'].includes(status.state);
  const next: Cell = down ? 'at its next start' : { text: 'at its next start', tone: 'warn' };
  return [key, wanted, inForce, isSame ? now : next];
}

/** A guest keeps the devices that it was lent until it ends. Of which pool a function is, nobody has written down. */
function deviceRow({ status }: Instance, { key, name, value }: Assignment, wanted: string): Cell[] {
  const lent = status.devices?.find((device) => device.name === name);
  const inForce = lent === undefined ? '-' : deviceText(lent);
  const isSame = value === null ? lent === undefined : inForce === wanted;
  const down = ['stopped', 'crashed'].includes(status.state);
  return [
    key,
    wanted,
    inForce,
    isSame ? now : down ? 'at its next start' : { text: 'at its next start', tone: 'warn' },
  ];
}

/** A guest has what it was started with. */
function vsockRow({ status }: Instance, { key, value }: Assignment, wanted: string): Cell[] {
  if (status.run === undefined) return [key, wanted, '-', 'at its next start'];
  const has = status.run.vsock === true;
  return [key, wanted, has ? 'on' : 'off', has === value ? now : { text: 'at its next start', tone: 'warn' }];
}

const now: Cell = { text: 'now', tone: 'good' };
const unseen: Cell = { text: 'taken, but not seen in force', tone: 'warn' };

function later({ status }: Instance): Cell {
  const down = ['stopped', 'crashed'].includes(status.state);
  return down ? 'at its next start' : `not told while it is ${status.state}: see \`wirt show\``;
}

/** Whether there is a disk or card that the key is about. */
function hasPart({ spec }: Instance, key: string): boolean {
  if (key.startsWith('network.')) return spec.nics.length > 0;
  return (
    !/^(each-)?disk\./.test(key) ||
    key === 'disk.weight' ||
    spec.disks.some(({ device }) => device === 'disk')
  );
}

function noPart(key: string): Cell {
  return `when it has a ${key.startsWith('network.') ? 'network card' : 'disk'}`;
}

function wantedText({ spec, value }: Assignment): string {
  if (value === null) return spec.place.in === 'label' ? 'without it' : '(taken out)';
  return limitText(spec.unit, value);
}

interface Told {
  readonly gap: LimitGap;
  readonly when: Cell;
}

function gapsOf({ drifted = [], pending = [] }: LimitsStatus, key: string): Told[] {
  const told = (gaps: readonly LimitGap[], when: (gap: LimitGap) => Cell): Told[] =>
    gaps.filter((gap) => concerns(key, gap)).map((gap) => ({ gap, when: when(gap) }));
  return [...told(drifted, driftedCell), ...told(pending, pendingCell)];
}

export function pendingCell({ why }: LimitGap): Cell {
  return { text: `at its next start: ${why}`, tone: 'warn' };
}

export function driftedCell({ why }: LimitGap): Cell {
  return { text: `drifted, Wirt goes on trying: ${why}`, tone: 'bad' };
}

function gapRow({ gap, when }: Told): Cell[] {
  const found = gap.found === undefined ? 'none' : gapText(gap.key, gap.found);
  return [gapKey(gap), gapText(gap.key, gap.wanted), found, when];
}

/** What is set for each disk or card is in force at every one of them. */
function inForceText(key: string, effective: Values, gap: LimitGap | undefined): string {
  const own = foundAt(effective, key);
  if (own !== undefined) return valueText(key, own);
  const each = [...effective].filter(([found]) => concerns(key, { key: found, wanted: '', why: '' }));
  const texts = each.map(([found, value]) => `${found.split('.')[1]} ${valueText(found, value)}`);
  if (texts.length > 0) return texts.join(', ');
  return gap?.found !== undefined && gapKey(gap) === key ? gapText(gap.key, gap.found) : 'none';
}

/** 100 is what a group without a weight has, and `off` what is not told. */
function isMissing({ value, spec }: Assignment, inForce: string): boolean {
  const wantsNone = value === null || value === 0 || value === false || value === 100;
  const noRate = typeof value === 'object' && value?.rate === 0;
  return inForce === 'none' && !wantsNone && !noRate && spec.unit !== 'network-burst';
}
