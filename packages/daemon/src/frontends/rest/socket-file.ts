/**
 * Listens on a Unix socket whose file it owns: takes over a stale one only if nobody answers on it, sets its mode before
 * anybody can see it, and listens anew when the file vanishes under the daemon.
 */
import { type FSWatcher, watch } from 'node:fs';
import { chmod, chown, lstat, mkdir, rename, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { WirtError } from '@wirt/api';
import type { RestLogger } from './door.ts';

export interface SocketFileOptions {
  readonly path: string;
  readonly mode: number;
  /** Group of the file; the daemon's own without it. */
  readonly gid?: number | undefined;
  readonly checkMs: number;
  readonly log: RestLogger;
  /** Takes each connection. */
  onConnection(socket: Socket): void;
}

export interface SocketFile {
  /** Stops accepting and removes the file, if it is still the own one. Connections are left alone. */
  close(): Promise<void>;
}

/** Suffix under which the socket is made before it is moved to its place. */
export const newSuffix = '.new';

const probeMs = 2_000;

/** Whether a process accepts connections on the socket at `path`. */
async function answers(path: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect(path);
  socket.setTimeout(probeMs, () => resolve(true)); // A full backlog: somebody listens, but slowly.
  socket.once('connect', () => resolve(true));
  socket.once('error', () => resolve(false));
  return promise.finally(() => socket.destroy());
}

/** Throws `daemon.already_running` or `daemon.config_invalid` when the place is taken. To be asked before anything is begun. */
export async function checkSocketFree(path: string): Promise<void> {
  const present = await lstat(path).catch(() => undefined);
  if (present === undefined) return;
  if (!present.isSocket()) {
    throw new WirtError('daemon.config_invalid', `--socket ${path} is a file that is no socket.`, {
      hint: 'Remove it, or choose another path with --socket.',
    });
  }
  if (await answers(path)) {
    throw new WirtError('daemon.already_running', `Another process answers on the socket ${path}.`, {
      hint: `Stop it (see who it is with \`fuser ${path}\`), or choose another path with --socket.`,
    });
  }
}

interface Listening {
  readonly server: Server;
  readonly inode: number;
}

/** Binds under another name, sets owner and mode, and moves it into place: nobody meets a half-made socket. */
async function bind(options: SocketFileOptions): Promise<Listening> {
  const made = options.path + newSuffix;
  await mkdir(dirname(options.path), { recursive: true });
  await rm(made, { force: true });
  const server = createServer({ allowHalfOpen: true }, options.onConnection);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen({ path: made, backlog: 511 }, resolve);
  await promise;
  try {
    if (options.gid !== undefined) await chown(made, -1, options.gid);
    await chmod(made, options.mode);
    const { ino } = await lstat(made);
    await rename(made, options.path);
    return { server, inode: ino };
  } catch (error) {
    server.close();
    throw error;
  }
}

function listenError(path: string, cause: unknown): WirtError {
  if (cause instanceof WirtError) return cause;
  return new WirtError('daemon.config_invalid', `wirtd cannot listen on the socket ${path}.`, {
    cause,
    hint: 'Choose a path that the daemon may write with --socket.',
  });
}

export async function listenOnSocketFile(options: SocketFileOptions): Promise<SocketFile> {
  await checkSocketFree(options.path);
  const door = new SocketFileDoor(options);
  try {
    await door.open();
  } catch (error) {
    throw listenError(options.path, error);
  }
  return door;
}

class SocketFileDoor implements SocketFile {
  readonly #options: SocketFileOptions;
  #listening: Listening | undefined;
  #watcher: FSWatcher | undefined;
  #timer: NodeJS.Timeout | undefined;
  #checking: Promise<void> | undefined;
  #closed = false;

  constructor(options: SocketFileOptions) {
    this.#options = options;
  }

  async open(): Promise<void> {
    this.#listening = await bind(this.#options);
    this.#watch();
    this.#timer ??= setInterval(() => this.#check(), this.#options.checkMs);
  }

  /** The watch tells at once; it goes blind when the directory itself is replaced, so the timer looks too. */
  #watch(): void {
    this.#watcher?.close();
    try {
      this.#watcher = watch(dirname(this.#options.path), { persistent: false }, () => this.#check());
      this.#watcher.on('error', () => this.#watcher?.close());
    } catch (error) {
      this.#options.log.warn('rest.socket_unwatched', { path: this.#options.path, error });
    }
  }

  #check(): void {
    this.#checking ??= this.#listenAnewIfGone().finally(() => {
      this.#checking = undefined;
    });
  }

  async #listenAnewIfGone(): Promise<void> {
    const { path, log } = this.#options;
    if (this.#closed || (await lstat(path).catch(() => undefined)) !== undefined || this.#closed) return;
    const before = this.#listening;
    try {
      await this.open();
      log.warn('rest.listening_anew', { path });
      before?.server.close();
    } catch (error) {
      log.error('rest.cannot_listen', { path, error });
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    this.#watcher?.close();
    await this.#checking;
    const { path } = this.#options;
    const present = await lstat(path).catch(() => undefined);
    if (present?.ino === this.#listening?.inode) await rm(path, { force: true });
    this.#listening?.server.close();
  }
}
