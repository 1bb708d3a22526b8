/** For contract tests: a real QEMU without a guest, paused, with QMP on a Unix socket. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const QEMU_BINARY = process.env['QEMU_SYSTEM'] ?? 'qemu-system-x86_64';

/** Why tests with a real QEMU cannot run here, or nothing. */
export const qemuMissing = spawnSync(QEMU_BINARY, ['--version']).error
  ? `${QEMU_BINARY} is not installed`
  : undefined;

export interface RealQemu extends AsyncDisposable {
  readonly path: string;
  readonly process: ChildProcess;
  readonly exited: Promise<unknown>;
}

export async function startQemu(machine: string, ...args: string[]): Promise<RealQemu> {
  const directory = await mkdtemp(join(tmpdir(), 'qemu-'));
  const path = join(directory, 'qmp');
  const child = spawn(
    QEMU_BINARY,
    [
      '-S',
      '-nodefaults',
      '-no-user-config',
      '-display',
      'none',
      '-accel',
      'tcg',
      '-machine',
      machine,
      '-qmp',
      `unix:${path},server=on,wait=off`,
      // A second monitor only to learn that QEMU is up: its greeting comes when all sockets listen.
      '-chardev',
      'stdio,id=up,signal=off',
      '-mon',
      'chardev=up,mode=control',
      ...args,
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  const exited = once(child, 'exit');
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL');
    await exited;
    await rm(directory, { recursive: true, force: true });
  };
  try {
    await Promise.race([
      once(child.stdout, 'data', { signal: AbortSignal.timeout(20_000) }),
      exited.then(([exitCode]) => Promise.reject(new Error(`QEMU ended with ${exitCode}`))),
    ]);
  } catch (error) {
    await stop();
    throw error;
  }
  return { path, process: child, exited, [Symbol.asyncDispose]: stop };
}
