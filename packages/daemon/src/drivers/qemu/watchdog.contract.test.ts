// The watchdog of the chipset, fed and starved from outside the guest by QEMU's own test protocol, as Linux' iTCO_wdt would from inside.
// Source: Intel ICH9 datasheet (TCO, GCS.NO_REBOOT), QEMU docs/devel/testing/qtest.rst.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
// Polls: QEMU's test protocol tells of no time that has passed.
import { setTimeout as pause } from 'node:timers/promises';
import { connectQmp, type QmpEvent } from '@wirt/qemu';
import { expect, it } from 'vitest';
import { platformDevices } from './platform-devices.ts';

const qemuBinary = '/usr/bin/qemu-system-x86_64';
const generation = '01980000-0000-0000-0000-000000000002';

/** Configuration register of the LPC bridge, 00:1f.0. */
const lpc = (register: number): string => `outl 0xcf8 ${0x8000_0000 + (0x1f << 11) + register}`;

const starved = [
  // Its I/O ports from 0x600 on, and its registers in memory.
  lpc(0x40),
  'outl 0xcfc 0x601',
  lpc(0x44),
  'outb 0xcfc 0x80',
  lpc(0xf0),
  'outl 0xcfc 0xfed1c001',
  // GCS: may reset. Then the shortest time, loaded, and the timer runs.
  'writel 0xfed1f410 0',
  'outw 0x672 4',
  'outw 0x660 4',
  'outw 0x668 0',
];

// Needs QEMU for x86.
it.skipIf(!existsSync(qemuBinary))(
  'a guest that stops feeding its watchdog is reset, and QEMU says why',
  async () => {
    const directory = await mkdtemp(join(tmpdir(), 'wirt-watchdog-'));
    const path = join(directory, 'qmp.sock');
    const plan = { machine: 'q35', generation, nics: [], disks: [] } as const;
    const child = spawn(
      qemuBinary,
      [
        ...['-machine', 'q35', '-accel', 'tcg', '-nodefaults', '-no-user-config', '-display', 'none'],
        ...platformDevices(plan),
        ...['-S', '-qmp', `unix:${path},server=on,wait=off`, '-qtest', 'stdio', '-qtest-log', 'none'],
      ],
      { stdio: ['pipe', 'ignore', 'ignore'] },
    );
    try {
      const signal = AbortSignal.timeout(20_000);
      const reset = Promise.withResolvers<void>();
      const seen: string[] = [];
      const onEvent = ({ event }: QmpEvent): void => {
        seen.push(event);
        if (event === 'RESET' && seen.includes('WATCHDOG')) reset.resolve();
      };
      signal.addEventListener('abort', () => reset.reject(signal.reason), { once: true });
      const qmp = await connected(path, signal, onEvent);
      child.stdin.write(`${starved.join('\n')}\n`);
      await qmp.execute('cont', undefined, { signal });
      await reset.promise;
      expect(seen.indexOf('WATCHDOG')).toBeLessThan(seen.lastIndexOf('RESET'));
      await qmp.close();
    } finally {
      const exit = once(child, 'exit');
      child.kill('SIGKILL');
      await exit;
      await rm(directory, { recursive: true });
    }
  },
  30_000,
);

async function connected(path: string, signal: AbortSignal, onEvent: (event: QmpEvent) => void) {
  for (;;) {
    const qmp = await connectQmp({ path, signal, onEvent }).catch(() => undefined);
    if (qmp !== undefined) return qmp;
    signal.throwIfAborted();
    await pause(20);
  }
}
