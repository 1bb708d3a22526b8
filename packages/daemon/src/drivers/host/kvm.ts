// KVM: whether the device is there, opens, can be opened by guests, and whether the processor really offers virtualization.
// A /dev/kvm without vmx or svm exists on paravirtualized backends; there TCG is much faster for ordinary guests.
import type { Host } from '@wirt/api';
import type { HostFiles } from '../../platform/host-files.ts';
import type { Virtualization } from './cpu.ts';

export const kvmDevice = '/dev/kvm';

export interface KvmFacts {
  readonly kvm: Host['kvm'];
  /** Who may open the device; undefined without one. */
  readonly access: { readonly mode: number; readonly gid: number } | undefined;
  /** True when it opens for a guest's own uid, through a group that is not root's. */
  readonly opensForGuests: boolean;
}

export interface KvmSights {
  readonly access: { readonly mode: number; readonly gid: number } | undefined;
  /** true, or the errno of opening it. */
  readonly opened: true | string;
  readonly virtualization: Virtualization;
  readonly isPrivileged: boolean;
}

export async function readKvm(
  files: HostFiles,
  sights: Omit<KvmSights, 'access' | 'opened'>,
): Promise<KvmFacts> {
  const access = await files.mode(kvmDevice);
  return judgeKvm({
    ...sights,
    access,
    opened: access === undefined ? 'ENOENT' : await files.opens(kvmDevice),
  });
}

export function judgeKvm({ access, opened, virtualization, isPrivileged }: KvmSights): KvmFacts {
  const device = access !== undefined;
  const opens = opened === true;
  // Only a privileged daemon runs guests under their own uid; otherwise they open what the daemon opens.
  const opensForGuests = opens && (!isPrivileged || isOpenToGuests(access));
  const why = explain({ device, opened, opensForGuests, virtualization });
  return {
    kvm: { device, opens, usable: why === undefined, why: why ?? usableText },
    access,
    opensForGuests,
  };
}

const usableText = 'KVM can be used.';

function isOpenToGuests(access: KvmSights['access']): boolean {
  if (access === undefined) return false;
  return (access.mode & 0o006) === 0o006 || ((access.mode & 0o060) === 0o060 && access.gid !== 0);
}

function explain(seen: {
  device: boolean;
  opened: true | string;
  opensForGuests: boolean;
  virtualization: Virtualization;
}): string | undefined {
  if (!seen.device)
    return seen.virtualization === 'none'
      ? `There is no ${kvmDevice}, and the processor offers no virtualization (vmx or svm) to this system.`
      : `There is no ${kvmDevice}: the kernel's KVM module is not loaded.`;
  if (seen.opened !== true) return `${kvmDevice} does not open (${seen.opened}).`;
  if (seen.virtualization === 'none')
    return `${kvmDevice} opens, but the processor offers neither vmx nor svm: KVM is emulated below, and an ordinary guest runs some hundred times slower on it than under TCG.`;
  if (!seen.opensForGuests) return `${kvmDevice} opens for root only, and guests run under their own uid.`;
  return undefined;
}
