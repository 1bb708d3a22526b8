/** What people see of an instance's network cards and of what the metadata service tells it. */
import type { Instance } from '@wirt/api';
import { publishedText } from '../published-port.ts';
import type { Block, Cell } from '../table.ts';

type Nic = Instance['spec']['nics'][number];

export function nicBlock(nics: readonly Nic[]): Block {
  return {
    kind: 'table',
    title: 'Network cards',
    columns: ['NAME', 'NETWORK', 'ADDRESSES', 'MAC', 'GROUPS', 'PUBLISHED', ''],
    rows: nics.map((nic): Cell[] => [
      nic.name,
      nic.network,
      addressText(nic),
      nic.mac,
      nic.securityGroups.join(', ') || '-',
      nic.publish.map(publishedText).join(', ') || '-',
      notes(nic),
    ]),
    empty: '',
  };
}

/** Its addresses; where it has none of ours, its network gives it one. */
export function addressText({ ipv4, ipv6 }: Pick<Nic, 'ipv4' | 'ipv6'>): string {
  return [ipv4, ipv6].filter((address) => address !== undefined).join(', ') || 'what the network gives it';
}

function notes({ model, floating, antiSpoofing, queues, bootOrder }: Nic): string {
  return [
    ...(model === 'virtio' ? [] : [model]),
    ...(floating === undefined ? [] : [`floating ${floating}`]),
    ...(antiSpoofing ? [] : ['may spoof']),
    ...(queues === undefined ? [] : [`${queues} queues`]),
    ...(bootOrder === undefined ? [] : [`boot ${bootOrder}`]),
  ].join(', ');
}

export function metadataText({ enabled, tokens, hopLimit }: Instance['spec']['metadata']): string {
  if (!enabled) return 'off';
  const asked = tokens === 'required' ? 'tokens required' : 'with and without tokens';
  return `${asked}, hop limit ${hopLimit}`;
}
