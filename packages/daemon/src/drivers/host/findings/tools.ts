// Judges the programs of the host that Wirt runs, and the firmware that it gives to guests. Pure.
import type { HostFinding } from '@wirt/api';
import { uefiPackage } from '../../../platform/uefi-images.ts';
import type { HostFacts } from '../facts.ts';

/** What each is for, and which Debian package has it. */
export const neededTools = {
  setpriv: { package: 'util-linux', purpose: 'dropping privileges before a guest starts' },
  cpio: { package: 'cpio', purpose: 'building images' },
  'dpkg-deb': { package: 'dpkg', purpose: 'building images' },
  'apt-get': { package: 'apt', purpose: 'building images' },
  mmdebstrap: { package: 'mmdebstrap', purpose: 'building images of Debian' },
  genisoimage: { package: 'genisoimage', purpose: 'cloud-init in guests: users, SSH keys, user-data' },
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
        why: 'Wirt runs these to start guests, to tell them who they are, and to build images.',
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

export function firmwareFindings({ uefi, host }: HostFacts): HostFinding[] {
  const head = { id: 'uefi', title: 'UEFI firmware' };
  if (uefi !== undefined)
    return [
      { ...head, level: 'ok', found: uefi, why: 'Guests can start by UEFI, as images of today expect.' },
    ];
  return [
    {
      ...head,
      level: 'missing',
      found: 'none without Secure Boot',
      why: 'No guest can start by UEFI: images that have no boot loader for BIOS do not start. Guests with BIOS lose nothing.',
      fix: `apt-get install -y ${uefiPackage(host.architecture)}`,
    },
  ];
}
