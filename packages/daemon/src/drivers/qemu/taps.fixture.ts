// For tests: taps that nobody else has, owned by the guest's user. They are down, so that no packet goes through them.
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { Identity } from '@wirt/core';

const run = promisify(execFile);

/** Fits the contract suite's `TapHarness`. */
export function makeTaps({ uid }: Identity) {
  const made: string[] = [];
  const missing = (): string => `wtt${randomBytes(5).toString('hex')}`;
  return {
    async make({ manyQueues = false } = {}): Promise<string> {
      const tap = missing();
      made.push(tap);
      const queues = manyQueues ? ['multi_queue'] : [];
      await run('ip', [
        'tuntap',
        'add',
        'dev',
        tap,
        'mode',
        'tap',
        'user',
        String(uid),
        ...queues,
        'vnet_hdr',
      ]);
      return tap;
    },
    missing,
    openQueues,
    async [Symbol.asyncDispose]() {
      for (const tap of made) await run('ip', ['link', 'delete', 'dev', tap]);
    },
  };
}

/** The kernel says in fdinfo which interface a descriptor of /dev/net/tun is. */
async function openQueues(tap: string): Promise<number> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const counts = await Promise.all(
    pids.map(async (pid) => {
      const fds = await readdir(`/proc/${pid}/fd`).catch(() => []);
      const open = await Promise.all(
        fds.map(async (fd) => {
          const target = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '');
          if (target !== '/dev/net/tun') return '';
          return readFile(`/proc/${pid}/fdinfo/${fd}`, 'utf8').catch(() => '');
        }),
      );
      return open.filter((text) => text.includes(`iff:\t${tap}\n`)).length;
    }),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}
