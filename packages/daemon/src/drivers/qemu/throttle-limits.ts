// Limits of disks as the contract has them, and as QEMU has them in two places: a throttle group's `limits`, and the arguments of
// block_set_io_throttle, which query-block tells again. Pure. QEMU's 0 is no limit, and its burst lasts 1 s unless told.
// Source: QEMU qapi/block-core.json (ThrottleLimits, BlockIOThrottle), docs/throttle.txt.
import type { Rate, Throttle } from '@wirt/api';

const fields = {
  totalBytes: { group: 'bps-total', device: 'bps' },
  readBytes: { group: 'bps-read', device: 'bps_rd' },
  writeBytes: { group: 'bps-write', device: 'bps_wr' },
  totalOperations: { group: 'iops-total', device: 'iops' },
  readOperations: { group: 'iops-read', device: 'iops_rd' },
  writeOperations: { group: 'iops-write', device: 'iops_wr' },
} as const satisfies Record<keyof Throttle, unknown>;

type Field = keyof typeof fields;
const names = Object.keys(fields) as Field[];

type GroupRate = (typeof fields)[Field]['group'];
type DeviceRate = (typeof fields)[Field]['device'];
export type GroupLimits = Record<GroupRate | `${GroupRate}-max` | `${GroupRate}-max-length`, number>;
export type DeviceLimits = Record<DeviceRate | `${DeviceRate}_max` | `${DeviceRate}_max_length`, number>;

/** Every value of a group, those without a limit too: what is not said stays as it was. */
export function toGroupLimits(throttle: Throttle): GroupLimits {
  const entries = names.flatMap((name) => entriesOf(fields[name].group, '-', throttle[name]));
  // Three for each field.
  return Object.fromEntries(entries) as GroupLimits;
}

/** The limits of one device, for block_set_io_throttle. */
export function toDeviceLimits(throttle: Throttle): DeviceLimits {
  const entries = names.flatMap((name) => entriesOf(fields[name].device, '_', throttle[name]));
  // Three for each field.
  return Object.fromEntries(entries) as DeviceLimits;
}

/** Takes what QEMU says, which may be anything. */
export function fromGroupLimits(limits: unknown): Throttle {
  const values = typeof limits === 'object' && limits !== null ? limits : {};
  return throttleOf((name) => rateOf(values, fields[name].group, '-'));
}

/** Takes the `inserted` of query-block, which leaves out what is not set. */
export function fromDeviceLimits(inserted: object): Throttle {
  return throttleOf((name) => rateOf(inserted, fields[name].device, '_'));
}

export function isSameThrottle(one: Throttle, other: Throttle): boolean {
  const [left, right] = [toDeviceLimits(one), toDeviceLimits(other)];
  return (Object.keys(left) as (keyof DeviceLimits)[]).every((key) => left[key] === right[key]);
}

export function isUnlimited(throttle: Throttle): boolean {
  return isSameThrottle(throttle, {});
}

function entriesOf(key: string, joint: '-' | '_', given: Rate | undefined): [string, number][] {
  const { rate, burst = 0, burstSeconds = 1 } = given ?? { rate: 0 };
  return [
    [key, rate],
    [`${key}${joint}max`, rate === 0 ? 0 : burst],
    [`${key}${joint}max${joint}length`, rate === 0 || burst === 0 ? 1 : burstSeconds],
  ];
}

function rateOf(values: object, key: string, joint: '-' | '_'): Rate | undefined {
  const at = (name: string, otherwise: number): number => {
    const value: unknown = Reflect.get(values, name);
    return typeof value === 'number' ? value : otherwise;
  };
  const rate = at(key, 0);
  if (rate === 0) return undefined;
  const burst = at(`${key}${joint}max`, 0);
  const burstSeconds = at(`${key}${joint}max${joint}length`, 1);
  if (burst === 0) return { rate };
  return burstSeconds === 1 ? { rate, burst } : { rate, burst, burstSeconds };
}

function throttleOf(read: (name: Field) => Rate | undefined): Throttle {
  const entries = names.flatMap((name): [Field, Rate][] => {
    const rate = read(name);
    return rate === undefined ? [] : [[name, rate]];
  });
  return Object.fromEntries(entries);
}
