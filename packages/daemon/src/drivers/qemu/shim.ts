// The small shell between wirtd and QEMU. It joins the control groups, drops privileges and becomes QEMU in its child;
// itself it stays as the parent, so that pid and exit status are on file also when wirtd is gone. Its text is constant:
// what differs between guests comes as arguments.
import type { Confinement } from '@wirt/core';

/** Stands in the shim's command line before the id and the run directory: by this it is found in /proc. */
export const shimMarker = 'wirt-guest';

/** The child's own failures before QEMU runs; 126 and 127 are the shell's and setpriv's. */
export const cannotJoinStatus = 125;

/**
 * `$1` id, `$2` run directory of the guest, `$3` number of files to join, those files, and the command.
 * - Writing 0 to cgroup.procs moves the writer (cgroups(7)): `echo` is a builtin, so it moves the child, not the shim.
 * - The shim lets go of the inherited sockets and of QEMU's log, so that they end with QEMU. Its own messages ("Killed") would
 *   otherwise look like QEMU's.
 * - Both files are written in one go and end in a newline: without it they are not complete.
 */
const script = `
umask 077
run=$2 joins=$3
shift 3
(
  while [ "$joins" -gt 0 ]; do
    echo 0 > "$1" || { echo "cannot join the control group by $1" >&2; exit ${cannotJoinStatus}; }
    shift
    joins=$((joins - 1))
  done
  exec "$@"
) &
pid=$!
trap '' HUP INT TERM
exec > /dev/null 2>&1 3>&- 4>&- 5>&-
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
    ...setpriv(options.confinement),
    ...['--', options.qemuBinary, ...options.qemuArguments],
  ];
  const [program = 'sh', ...rest] =
    scopeUnit === undefined ? sh : [...scope(scopeUnit, options.privileged), ...sh];
  return { program, arguments: rest };
}

/** `--scope` moves systemd-run itself into the scope and then becomes the command, with its descriptors. */
function scope(unit: string, privileged: boolean): string[] {
  const manager = privileged ? [] : ['--user'];
  return ['systemd-run', ...manager, '--scope', '--quiet', `--unit=${unit}`, '-p', 'Delegate=yes', '--'];
}

function setpriv({ identity }: Confinement): string[] {
  const label = identity.selinuxLabel === undefined ? [] : [`--selinux-label=${identity.selinuxLabel}`];
  if (!identity.own) return ['setpriv', '--no-new-privs', ...label];
  return [
    'setpriv',
    `--reuid=${identity.uid}`,
    `--regid=${identity.gid}`,
    identity.groups.length === 0 ? '--clear-groups' : `--groups=${identity.groups.join(',')}`,
    '--no-new-privs',
    '--inh-caps=-all',
    '--ambient-caps=-all',
    '--bounding-set=-all',
    ...label,
  ];
}
