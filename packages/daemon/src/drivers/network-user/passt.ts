// The passt processes of this daemon, one for each card. They outlive the daemon as their guests do, and are found again by the path of
// their socket, which is below the daemon's own run directory, in their command line.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { PlannedPort } from '@wirt/core';
import { confinedEnvironment, setpriv } from '../../platform/confined.ts';
import { hasErrno } from '../../platform/fs-error.ts';
import { type PasstFiles, passtCommand } from './passt-command.ts';

const startMs = 5_000;
const endMs = 2_000;
const pollMs = 5;

/** Instance and card: ids and names have no dot. */
export type PortKey = string;

export function keyOf({ instance, nic }: Pick<PlannedPort, 'instance' | 'nic'>): PortKey {
  return `${instance}.${nic}`;
}

export interface Passts {
  socketOf(key: PortKey): string;
  /** Starts one and returns when QEMU can connect. Throws with passt's last words; nothing is left then. */
  start(port: PlannedPort, signal: AbortSignal): Promise<void>;
  /** Those that run, with their command lines. */
  find(): Promise<Map<PortKey, { readonly pid: number; readonly command: readonly string[] }>>;
  /** The command line that one for this port would have. */
  commandOf(port: PlannedPort): readonly string[];
  /** Ends it, and removes its files. None is fine. */
  stop(key: PortKey): Promise<void>;
  /** Ports that have files, whether or not a process. */
  list(): Promise<PortKey[]>;
}

export function createPassts(runDirectory: string): Passts {
  const root = join(runDirectory, 'passt');
  const directoryOf = (key: PortKey): string => join(root, key);
  const filesOf = (key: PortKey): PasstFiles => {
    const directory = directoryOf(key);
    return { socket: join(directory, 'sock'), pid: join(directory, 'pid'), log: join(directory, 'log') };
  };
  const commandOf = (port: PlannedPort): string[] => passtCommand(port, filesOf(keyOf(port)));

  const find: Passts['find'] = async () => {
    const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
    const commands = await Promise.all(pids.map(commandLine));
    const found = new Map<PortKey, { pid: number; command: readonly string[] }>();
    for (const [index, command] of commands.entries()) {
      const [program = ''] = command;
      const socket = command[command.indexOf('--socket') + 1] ?? '';
      if (!/(^|\/)passt(\.avx2)?$/.test(program) || !socket.startsWith(`${root}/`)) continue;
      const key = socket.slice(root.length + 1).split('/')[0] ?? '';
      found.set(key, { pid: pids[index] ?? 0, command });
    }
    return found;
  };

  const end = async (key: PortKey): Promise<void> => {
    const until = performance.now() + endMs;
    for (let first = true; ; first = false) {
      const running = (await find()).get(key);
      if (running === undefined) return;
      const isLate = performance.now() >= until;
      if (first || isLate) kill(running.pid, isLate ? 'SIGKILL' : 'SIGTERM');
      await delay(pollMs);
    }
  };
  const stop = async (key: PortKey): Promise<void> => {
    await end(key);
    await rm(directoryOf(key), { recursive: true, force: true });
  };

  return {
    socketOf: (key) => filesOf(key).socket,
    commandOf,
    find,
    stop,
    async list() {
      return await readdir(root).catch(() => []);
    },
    async start(port, signal) {
      const key = keyOf(port);
      const files = filesOf(key);
      await stop(key);
      signal.throwIfAborted();
      // Guests pass through, and see nothing of each other.
      await mkdir(root, { recursive: true });
      await chmod(root, 0o711);
      await mkdir(directoryOf(key), { mode: 0o700 });
      try {
        await launch(port, { files, command: commandOf(port), directory: directoryOf(key), signal });
      } catch (error) {
        const said = await lastLine(files.log);
        await stop(key);
        signal.throwIfAborted();
        throw said === undefined ? error : new Error(`passt: ${said}`, { cause: error });
      }
    },
  };
}

async function launch(
  { owner }: PlannedPort,
  parts: {
    readonly files: PasstFiles;
    readonly command: readonly string[];
    readonly directory: string;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const own = owner.uid !== process.geteuid?.();
  if (own) await chown(parts.directory, owner.uid, owner.gid);
  const [program = 'setpriv', ...words] = [...setpriv({ ...owner, groups: [], own }), '--', ...parts.command];
  const child = spawn(program, words, {
    cwd: '/',
    env: confinedEnvironment({ controlGroup: { joinFiles: [] } }),
    detached: true,
    stdio: 'ignore',
  });
  child.unref();
  await once(child, 'spawn');
  const until = performance.now() + startMs;
  while (!(await readFile(parts.files.pid, 'latin1').catch(() => '')).endsWith('\n')) {
    parts.signal.throwIfAborted();
    if (child.exitCode !== null || child.signalCode !== null)
      throw new Error(`passt ended with ${child.exitCode ?? child.signalCode}.`);
    if (performance.now() >= until) throw new Error(`passt was not ready within ${startMs} ms.`);
    await delay(pollMs);
  }
}

async function commandLine(pid: number): Promise<string[]> {
  const text = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return text.split('\0').slice(0, -1);
}

async function lastLine(path: string): Promise<string | undefined> {
  const text = await readFile(path, 'utf8').catch(() => '');
  return text.trimEnd().split('\n').at(-1)?.slice(0, 500) || undefined;
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!hasErrno(error, 'ESRCH')) throw error;
  }
}
