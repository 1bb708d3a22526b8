/** Where wirtd listens: as asked, else where wirtd of this user would, else the system's when this user may use it. */
import { WirtError } from '@wirt/api/errors';

const systemSocket = '/run/wirt/wirtd.sock';

export interface SocketPathInput {
  /** Of `--socket`. */
  readonly asked?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly uid: number;
}

export interface SocketPathProbe {
  /** Whether the file is there and this user may write to it. */
  usable(path: string): boolean;
  /** The owner of a directory (links are not followed); undefined when it is none or not there. */
  owner(path: string): number | undefined;
}

// An `import` of node:fs evaluates its lazy getters, fs.promises among them: 4 ms of `wirt ls`.
const fs = process.getBuiltinModule('node:fs');

const hostProbe: SocketPathProbe = {
  usable(path) {
    try {
      fs.accessSync(path, fs.constants.W_OK);
      return true;
    } catch {
      return false;
    }
  },
  owner(path) {
    const found = fs.lstatSync(path, { throwIfNoEntry: false });
    return found?.isDirectory() === true ? found.uid : undefined;
  },
};

/** The socket to use. Throws `daemon.unreachable` when the place for it belongs to somebody else. */
export function socketPath(input: SocketPathInput, probe: SocketPathProbe = hostProbe): string {
  const asked = input.asked ?? input.env['WIRT_SOCKET'];
  if (asked !== undefined && asked !== '') return asked;
  if (input.uid === 0) return systemSocket;
  const runtime = input.env['XDG_RUNTIME_DIR'];
  const folder = runtime === undefined || runtime === '' ? `/tmp/wirt-${input.uid}` : `${runtime}/wirt`;
  const own = `${folder}/wirtd.sock`;
  if (!probe.usable(own)) return probe.usable(systemSocket) ? systemSocket : own;
  // /tmp is everybody's: a socket in a folder of another user would be that user's daemon, and learn our input.
  if (folder.startsWith('/tmp/') && probe.owner(folder) !== input.uid) {
    throw new WirtError(
      'daemon.unreachable',
      `${folder} does not belong to you, so its socket is not used.`,
      {
        hint: 'Remove it, or name the socket with --socket PATH.',
      },
    );
  }
  return own;
}
