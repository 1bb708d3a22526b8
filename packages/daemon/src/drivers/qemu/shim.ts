// The small shell between wirtd and QEMU. It joins the control groups, drops privileges and becomes QEMU in its child;
// itself it stays as the parent, so that pid and exit status are on file also when wirtd is gone. Its text is constant:
// what differs between guests comes as arguments.
import type { Confinement } from '@wirt/core';
import { joinGroups, scope, setpriv } from '../../platform/confined.ts';

/** Stands in the shim's command line before the id and the run directory: by this it is found in /proc. */
export const shimMarker = 'wirt-guest';

/**
 * `$1` id, `$2` run directory of the guest, `$3` number of files to join, those files, and the command.
 * - The child joins the groups, not the shim.
 * - The shim lets go of the inherited sockets and of QEMU's log, so that they end with QEMU; the files of its memory end with the shim, a moment later. Its own messages ("Killed") would
 *   otherwise look like QEMU's.
 * - Both files are written in one go and end in a newline: without it they are not complete.
 */
const script = `
umask 077
run=$2 joins=$3
shift 3
(${joinGroups}
  exec "$@"
) &
pid=$!
trap '' HUP INT TERM
exec > /dev/null 2>&1 3>&- 4>&- 5>&- 6>&-
echo "$pid" > "$run/pid"
wait "$pid"
status=$?
echo "$status" > "$run/exit"
exit "$status"
`;

export interface ShimOptions {
  readonly id: string;
  readonly runDirectory: string;
  readonly confinement: Confinement;
  readonly qemuBinary: string;
  readonly qemuArguments: readonly string[];
  /** How much QEMU may lock of the host's memory; undefined: what the daemon may. */
  readonly lockedBytes?: number | undefined;
  /** Whether wirtd runs as root: decides which systemd is asked for the scope. */
  readonly privileged: boolean;
}

export interface ShimCommand {
  readonly program: string;
  readonly arguments: readonly string[];
}

export function shimCommand(options: ShimOptions): ShimCommand {
  const { joinFiles, scopeUnit } = options.confinement.controlGroup;
  const sh = [
    ...['sh', '-c', script],
    ...[shimMarker, options.id, options.runDirectory, String(joinFiles.length), ...joinFiles],
    // Before privileges are dropped: afterwards nobody could raise it.
    ...memoryLock(options.lockedBytes),
    ...setpriv(options.confinement.identity),
    ...['--', options.qemuBinary, ...options.qemuArguments],
  ];
  const [program = 'sh', ...rest] =
    scopeUnit === undefined ? sh : [...scope(scopeUnit, options.privileged), ...sh];
  return { program, arguments: rest };
}

function memoryLock(bytes: number | undefined): string[] {
  return bytes === undefined ? [] : ['prlimit', `--memlock=${bytes}:${bytes}`];
}
