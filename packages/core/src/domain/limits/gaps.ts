/** Compares what was asked for with what was read back, value by value, under the names that `wirt set` takes. Pure. */
import type { EffectiveLimits, LimitGap, NicLimits, Throttle } from '@wirt/api';

type Values = Map<string, number>;

/** Kernels round: shares to whole ones, memory to pages, rates to ticks. */
const tolerance = 0.01;
/** Memory is plugged in and taken out in steps of this. */
const memoryStepMib = 2;

const throttleKeys = {
  readBytes: 'read',
  writeBytes: 'write',
  totalBytes: 'total',
  readOperations: 'read-ops',
  writeOperations: 'write-ops',
  totalOperations: 'total-ops',
} as const satisfies Record<keyof Throttle, string>;

/** Every value that there is, by its key. */
export function valuesOf(limits: EffectiveLimits): Values {
  const values: Values = new Map();
  const add = (key: string, value: number | undefined): void => {
    if (value !== undefined) values.set(key, value);
  };
  const { cpu, memory, disk, disks = {}, nics = {} } = limits;
  add('cpus', limits.cpus);
  add('memory', limits.memoryMib);
  add('cpu.cores', cpu?.cores);
  add('cpu.weight', cpu?.weight);
  add('cpu.burst', cpu?.burstMs);
  add('memory.ceiling', memory?.ceilingMib);
  add('memory.reservation', memory?.reservationMib);
  add('memory.swap', memory?.swapMib);
  add('memory.balloon', memory?.balloonMib);
  if (memory?.freePageReporting !== undefined)
    add('memory.free-page-reporting', Number(memory.freePageReporting));
  add('disk.weight', disk?.weight);
  if (disk !== undefined) addThrottle(add, 'disk', disk);
  for (const [name, throttle] of Object.entries(disks)) addThrottle(add, `disk.${name}`, throttle);
  for (const [name, nic] of Object.entries(nics)) addNic(add, `network.${name}`, nic);
  return values;
}

type Add = (key: string, value: number | undefined) => void;

function addThrottle(add: Add, scope: string, throttle: Throttle): void {
  // `as const` keys of the table, which Object.entries forgets.
  for (const [field, word] of Object.entries(throttleKeys) as [keyof Throttle, string][]) {
    const rate = throttle[field];
    add(`${scope}.${word}`, rate?.rate);
    add(`${scope}.${word} burst`, rate?.burst);
    add(`${scope}.${word} burst seconds`, rate?.burst === undefined ? undefined : (rate.burstSeconds ?? 1));
  }
}

function addNic(add: Add, scope: string, limits: NicLimits): void {
  for (const way of ['ingress', 'egress'] as const) {
    add(`${scope}.${way}`, limits[way]?.bytesPerSecond);
    add(`${scope}.${way}-packets`, limits[way]?.packetsPerSecond);
  }
}

/** Where `found` is not as `wanted`. What has a default of the driver’s own (bursts of cards) is not compared. */
export function gapsBetween(wanted: EffectiveLimits, found: EffectiveLimits, why: string): LimitGap[] {
  const [want, have] = [valuesOf(wanted), valuesOf(found)];
  const keys = [...new Set([...want.keys(), ...have.keys()])];
  return keys.flatMap((key) => {
    const [asked, is] = [want.get(key), have.get(key)];
    if (isSame(asked, is, key === 'memory' ? memoryStepMib : 0)) return [];
    const shown = is === undefined ? {} : { found: String(is) };
    return [{ key, wanted: asked === undefined ? 'none' : String(asked), ...shown, why }];
  });
}

function isSame(one: number | undefined, other: number | undefined, step: number): boolean {
  if (one === undefined || other === undefined) return one === other;
  return Math.abs(one - other) <= Math.max(step, tolerance * Math.max(Math.abs(one), Math.abs(other)));
}
