// Why a launch failed, as an error of the catalogue. QEMU's own words come first; only when it ended without any good
// reason is its binary looked at, by asking it for its version.
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, isAbsolute, join } from 'node:path';
import { WirtError } from '@wirt/api';
import type { ProcessExit } from '@wirt/core';
import { cannotJoinStatus } from '../../platform/confined.ts';
import { runToSuccess, SubprocessError } from '../../platform/subprocess.ts';
import { saysLocked } from './locked.ts';

const versionTimeoutMs = 5_000;
const installQemu = 'Install QEMU: apt install qemu-system-x86';
const replaceQemu = 'Install QEMU anew: apt install --reinstall qemu-system-x86';

export interface EarlyEnd {
  readonly id: string;
  readonly qemuBinary: string;
  /** Undefined when QEMU had to be ended, because it did not speak QMP. */
  readonly exit: ProcessExit | undefined;
  readonly lastLine: string;
  /** Of the huge pages that its memory was to be of. */
  readonly pageSizeKib?: number | undefined;
  /** On the host's vsock, where the guest has one. */
  readonly vsockCid?: number | undefined;
  readonly cause?: unknown;
}

/** Of the mapping where the host has none, and of the first touch where its node, or a limit, has fewer (QEMU util/oslib-posix.c). */
const noPages =
  /unable to map backing store for guest RAM|preallocating memory failed|Insufficient free host memory pages/;

/** Of the kernel's refusal (drivers/vhost/vsock.c: EADDRINUSE), in the words of QEMU hw/virtio/vhost-vsock.c. */
const cidTaken = /unable to set guest cid: Address already in use/;

export async function explainEarlyEnd(end: EarlyEnd): Promise<WirtError> {
  const { id, exit, lastLine } = end;
  if (exit?.kind === 'exited' && exit.code === cannotJoinStatus) {
    return new WirtError('host.cgroup_failed', `QEMU of instance ${id} could not join its control group.`, {
      cause: new Error(lastLine),
      hint: 'See `wirt host check`.',
    });
  }
  const binary = await checkBinary(end.qemuBinary);
  if (binary !== undefined) return binary;
  if (/\bsetpriv: not found$/.test(lastLine) || /\bsystemd-run: not found$/.test(lastLine)) {
    return new WirtError('host.tool_missing', `QEMU of instance ${id} could not be started.`, {
      cause: new Error(lastLine),
      hint: 'Install what is missing: apt install util-linux systemd',
    });
  }
  if (lastLine.startsWith('setpriv: ')) {
    return new WirtError('host.permission_denied', `The privileges of instance ${id} could not be set.`, {
      cause: new Error(lastLine),
      hint: 'Run wirtd as root, or see `wirt host check` for what an ordinary user may do.',
    });
  }
  if (saysLocked(lastLine)) {
    return new WirtError('volume.locked', `Instance ${id} could not open a disk.`, {
      cause: new Error(lastLine),
      hint: 'Find who has the file open: `fuser -v FILE`. A disk belongs to one guest at a time.',
    });
  }
  if (end.vsockCid !== undefined && cidTaken.test(lastLine)) {
    return new WirtError(
      'host.vsock_cid_taken',
      `Another program has the address ${end.vsockCid} on the host’s vsock, which is that of instance ${id}.`,
      {
        cause: new Error(lastLine),
        hint: `End what has it (\`lsof /dev/vhost-vsock\`), or take another: \`wirt set ${id} vsock=off\`, then \`vsock=on\`.`,
        details: { cid: end.vsockCid },
      },
    );
  }
  if (end.pageSizeKib !== undefined && noPages.test(lastLine)) {
    return new WirtError(
      'host.insufficient_huge_pages',
      `The host had not enough huge pages of ${end.pageSizeKib} KiB left when instance ${id} was started.`,
      {
        cause: new Error(lastLine),
        hint: `See \`wirt host capacity\` for those that it has, or do without: \`wirt set ${id} hugepages=none\`.`,
        details: { sizeKib: end.pageSizeKib },
      },
    );
  }
  return new WirtError('instance.start_failed', `QEMU did not start instance ${id}.`, {
    cause: lastLine === '' ? (end.cause ?? new Error(describe(exit))) : new Error(lastLine),
    details: { exit: exit ?? { kind: 'ended' } },
    hint: `QEMU’s messages: \`wirt logs ${id} --qemu\`.`,
  });
}

function describe(exit: ProcessExit | undefined): string {
  switch (exit?.kind) {
    case undefined:
      return 'QEMU did not open its control connection in time.';
    case 'exited':
      return `QEMU exited with status ${exit.code} and said nothing.`;
    case 'signalled':
      return `QEMU was ended by ${exit.signal}.`;
    case 'lost':
      return 'QEMU ended, nobody saw how.';
  }
}

/** Undefined when the binary is there and runs. */
async function checkBinary(qemuBinary: string): Promise<WirtError | undefined> {
  const path = await find(qemuBinary);
  if (path === undefined) {
    return new WirtError('host.qemu_missing', `There is no QEMU at ${qemuBinary}.`, { hint: installQemu });
  }
  try {
    const { stdout } = await runToSuccess(path, ['--version'], { timeoutMs: versionTimeoutMs });
    if (/\bversion \d+\.\d+/.test(stdout)) return undefined;
    return new WirtError('host.qemu_broken', `${path} is not QEMU.`, { hint: replaceQemu });
  } catch (error) {
    const cause = error instanceof SubprocessError ? (error.cause ?? error) : error;
    return new WirtError('host.qemu_broken', `${path} --version does not run.`, { cause, hint: replaceQemu });
  }
}

/** A file that is there but may not be executed is found all the same: it is broken and not missing. */
async function find(program: string): Promise<string | undefined> {
  const directories = (process.env['PATH'] ?? '').split(delimiter);
  const candidates = isAbsolute(program) ? [program] : directories.map((each) => join(each, program));
  for (const path of candidates) {
    const found = await access(path, constants.F_OK).then(
      () => true,
      () => false,
    );
    if (found) return path;
  }
  return undefined;
}
