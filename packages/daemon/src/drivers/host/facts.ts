// Everything that was found out about the machine, before any judgement: what the contract shows, and what the findings need
// beside it.
import type { ErrorCode, Host } from '@wirt/api';
import type { CpuFacts } from './cpu.ts';
import type { KvmFacts } from './kvm.ts';
import type { PageFacts } from './memory.ts';
import type { IoUringFacts } from './security.ts';

export interface HostFacts {
  readonly host: Host;
  readonly vendor: CpuFacts['vendor'];
  readonly governor: CpuFacts['governor'];
  readonly pages: PageFacts;
  readonly kvm: KvmFacts;
  readonly ioUringDisabled: IoUringFacts['ioUringDisabled'];
  /** Why `host.qemu` is absent. */
  readonly qemuProblem:
    | { readonly code: ErrorCode; readonly message: string; readonly hint: string }
    | undefined;
  readonly cgroupWritable: boolean;
  /** Programs that Wirt runs, and whether they are installed. */
  readonly tools: Readonly<Record<string, boolean>>;
  /** Mode of /dev/net/tun; undefined where there is none. */
  readonly tun: number | undefined;
  /** UEFI code that guests can be given, or none. */
  readonly uefi: string | undefined;
  readonly uids: {
    readonly first: number;
    readonly count: number;
    /** Accounts or subordinate ranges of the host that lie in the range. */
    readonly clashes: readonly string[];
  };
}
