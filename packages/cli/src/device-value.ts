/** A device of the host as it is typed: its address, or `address=A`, `pool=P`, `mdev=UUID`. The daemon checks the values. */
import type { InstanceDevice } from '@wirt/api';
import { BadValue, quote } from './units.ts';

export const deviceSources = ['address', 'pool', 'mdev'] as const;
export type DeviceSource = (typeof deviceSources)[number];

export function isDeviceSource(key: string): key is DeviceSource {
  return deviceSources.some((source) => source === key);
}

export function deviceOf(name: string, source: DeviceSource, value: string): InstanceDevice {
  switch (source) {
    case 'address':
      return { name, address: value };
    case 'pool':
      return { name, pool: value };
    case 'mdev':
      return { name, mdev: value };
  }
}

/** Throws BadValue with the end of a sentence that begins with the key. */
export function parseDevice(name: string, text: string): InstanceDevice {
  if (!text.includes('=')) return deviceOf(name, 'address', text);
  const [, source = '', value = ''] = /^([a-z]+)=([^,=]+)$/s.exec(text) ?? [];
  if (!isDeviceSource(source))
    throw new BadValue(`takes an address, pool=NAME or mdev=UUID, and not ${quote(text)}`);
  return deviceOf(name, source, value);
}

/** `parseDevice` reads it back. */
export function deviceText(
  device: Readonly<{ address?: string; pool?: string; mdev?: string | undefined }>,
): string {
  const { address = '', pool, mdev } = device;
  if (mdev !== undefined) return `mdev=${mdev}`;
  return pool === undefined ? address : `pool=${pool}`;
}
