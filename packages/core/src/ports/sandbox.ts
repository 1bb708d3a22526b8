/** The identity under which a guest's process runs, and the proof of how it is confined. */
import type { InstanceProcess, Isolation } from '@wirt/api';

/** Without `uid` the daemon is not privileged, and guests run as the daemon's own user. */
export interface Identity {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups, for devices such as /dev/kvm. */
  readonly groups: readonly number[];
  /** Whether it differs from the daemon's own, so that privileges are to be dropped before exec. */
  readonly own: boolean;
  /** SELinux label for the process; undefined where SELinux is off. The lab's issue fills it. */
  readonly selinuxLabel?: string;
}

export interface Sandbox {
  /**
   * Claims a uid that no other guest on this machine has, of any daemon. Claiming again for the same id gives the same.
   * Throws `host.uids_exhausted`, and `host.kvm_unusable` when KVM is needed and opens for root only.
   */
  claim(id: string, needs: { readonly kvm: boolean }): Promise<Identity>;
  /** Gives the uid back. Nothing claimed is fine. Throws, and keeps it, while something lent to it was not taken back. */
  release(id: string): Promise<void>;
  /** Ids for which this daemon holds a uid. */
  claimed(): Promise<string[]>;
  /**
   * Reads a process's confinement from /proc and cgroupfs. Throws `instance.state_conflict` when it is gone, also when another
   * process has its pid by now.
   */
  inspect(id: string, process: Pick<InstanceProcess, 'pid' | 'startTicks'>): Promise<Isolation>;
}
