/** What `wirt run` says of devices of the host: `--device ADDRESS`, or `--device name=gpu0,address=…`. */
import type { InstanceDevice } from '@wirt/api';
import type { OptionSpecs, OptionValues } from '../command.ts';
import { deviceOf, deviceSources, isDeviceSource } from '../device-value.ts';
import { usageError } from '../parse.ts';
import { quote } from '../units.ts';

export const deviceOptions = {
  device: {
    kind: 'text',
    value: 'DEVICE',
    many: true,
    summary: 'A PCI device of the host: its address, or [name=N,] and address=A, pool=P, or mdev=UUID',
  },
} as const satisfies OptionSpecs;

/** Empty where nothing was asked for. The daemon checks the values. */
export function deviceSpec(given: OptionValues<typeof deviceOptions>): { devices?: InstanceDevice[] } {
  if (given.device.length === 0) return {};
  return { devices: given.device.map((text, at) => parseDevice(text, `device${at}`)) };
}

function parseDevice(text: string, fallback: string): InstanceDevice {
  if (!text.includes('=')) return { name: fallback, address: text };
  const found = new Map<string, string>();
  for (const part of text.split(',')) {
    const [, key = '', value = ''] = /^([a-z]+)=(.+)$/s.exec(part) ?? [];
    if (key !== 'name' && !isDeviceSource(key))
      throw wrong(text, `it takes name, ${deviceSources.join(', ')}, each with =VALUE`);
    if (found.has(key)) throw wrong(text, `it has ${key} twice`);
    found.set(key, value);
  }
  const [source, more] = deviceSources.filter((each) => found.has(each));
  if (source === undefined || more !== undefined)
    throw wrong(text, `it takes one of ${deviceSources.join(', ')}`);
  return deviceOf(found.get('name') ?? fallback, source, found.get(source) ?? '');
}

function wrong(text: string, why: string): Error {
  return usageError('run', `--device ${quote(text)} cannot be: ${why}.`);
}
