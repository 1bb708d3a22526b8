// Judges the programs of the host that Wirt runs. Pure.
import type { HostFinding } from '@wirt/api';
import type { HostFacts } from '../facts.ts';

/** What each is for, and which Debian package has it. */
export const neededTools = {
  setpriv: { package: 'util-linux', purpose: 'dropping privileges before a guest starts' },
  cpio: { package: 'cpio', purpose: 'building images' },
  'dpkg-deb': { package: 'dpkg', purpose: 'building images' },
  'apt-get': { package: 'apt', purpose: 'building images' },
} as const satisfies Record<string, { package: string; purpose: string }>;

export function toolFindings({ tools }: HostFacts): HostFinding[] {
  const head = { id: 'tools', title: 'Programs' };
  const absent = Object.entries(neededTools).filter(([name]) => tools[name] !== true);
  if (absent.length === 0)
    return [
      {
        ...head,
        level: 'ok',
        found: Object.keys(neededTools).join(', '),
        why: 'Wirt runs these to start guests and to build images.',
      },
    ];
  const purposes = [...new Set(absent.map(([, { purpose }]) => purpose))];
  return [
    {
      ...head,
      level: 'missing',
      found: `without ${absent.map(([name]) => name).join(', ')}`,
      why: `Not possible without: ${purposes.join('; ')}.`,
      fix: `apt-get install -y ${[...new Set(absent.map(([, tool]) => tool.package))].join(' ')}`,
    },
  ];
}
