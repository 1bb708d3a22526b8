// Where the files of a guest lie. Run-time files (sockets, pid, exit status) go with a reboot, logs stay until the guest
// is forgotten. All of them belong to the daemon: QEMU is handed open descriptors and needs no path.
import { join } from 'node:path';
import { WirtError } from '@wirt/api';

export interface GuestPaths {
  readonly run: string;
  /** Written by the shim: QEMU's pid and a newline. */
  readonly pid: string;
  /** Whose process QEMU is to be, and a newline. */
  readonly uid: string;
  /** Written by the shim when QEMU has ended: the status as a shell gives it, and a newline. */
  readonly exit: string;
  /** There while its kernel has panicked and not restarted. */
  readonly panic: string;
  readonly sockets: Readonly<Record<SocketName, string>>;
  readonly state: string;
  readonly qemuLog: string;
  readonly consoleLog: string;
}

export type SocketName = 'qmp' | 'console' | 'agent';

export interface Directories {
  readonly stateDirectory: string;
  readonly runDirectory: string;
}

/** sockaddr_un.sun_path is 108 bytes with its end (unix(7)). */
const maxSocketPathBytes = 107;
/** What is appended while a socket is being made. */
export const newSuffix = '.new';

/** A ULID: ids become file names and parts of command lines. */
const safeId = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/;

export function isSafeId(id: string): boolean {
  return safeId.test(id);
}

export function instancesDirectory(directory: string): string {
  return join(directory, 'instances');
}

/** Throws `daemon.config_invalid` when the run directory is too long for Unix sockets. */
export function guestPaths({ stateDirectory, runDirectory }: Directories, id: string): GuestPaths {
  if (!isSafeId(id)) throw new Error(`'${id}' cannot be the id of a guest.`);
  const run = join(instancesDirectory(runDirectory), id);
  const state = join(instancesDirectory(stateDirectory), id);
  const sockets = {
    qmp: join(run, 'qmp.sock'),
    console: join(run, 'console.sock'),
    agent: join(run, 'agent.sock'),
  };
  const excess = Buffer.byteLength(sockets.console + newSuffix) - maxSocketPathBytes;
  if (excess > 0) {
    throw new WirtError(
      'daemon.config_invalid',
      `The run directory ${runDirectory} is ${excess} bytes too long for the sockets of guests.`,
      { hint: 'Start wirtd with a shorter directory: wirtd --run-dir /run/wirt' },
    );
  }
  return {
    run,
    pid: join(run, 'pid'),
    uid: join(run, 'uid'),
    exit: join(run, 'exit'),
    panic: join(run, 'panic'),
    sockets,
    state,
    qemuLog: join(state, 'qemu.log'),
    consoleLog: join(state, 'console.log'),
  };
}
