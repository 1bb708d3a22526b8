// The same QEMU with the same guest, started by hand: what Wirt's own share is measured against.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { connectQmp, type QmpConnection } from '@wirt/qemu';

/** The command line of a running guest, with its inherited sockets turned into paths below `directory`. */
async function commandOf(pid: number, directory: string): Promise<string[]> {
  const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0').slice(0, -1);
  return words.map((word) =>
    word.replace(
      /(socket,id=(\w+)),fd=\d+/,
      (_, head: string, id: string) => `${head},path=${join(directory, `${id}.sock`)}`,
    ),
  );
}

async function connected(path: string): Promise<QmpConnection> {
  const deadline = AbortSignal.timeout(10_000);
  for (;;) {
    const qmp = await connectQmp({ path, signal: deadline }).catch(() => undefined);
    if (qmp !== undefined) return qmp;
    deadline.throwIfAborted();
    await pause(1);
  }
}

/** Time from exec to the end of QMP's negotiation; the guest's processors stay stopped. */
export async function bareStartMs(pid: number): Promise<number> {
  const directory = await mkdtemp(join(tmpdir(), 'wirt-bare-'));
  const [program = '', ...args] = await commandOf(pid, directory);
  const from = performance.now();
  const child = spawn(program, args, { stdio: 'ignore' });
  try {
    const qmp = await connected(join(directory, 'qmp0.sock'));
    const took = performance.now() - from;
    await qmp.close();
    return took;
  } finally {
    const exit = once(child, 'exit');
    child.kill('SIGKILL');
    await exit;
    await rm(directory, { recursive: true });
  }
}
