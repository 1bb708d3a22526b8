// libvirt on the same machine with the same guest: define + start, and destroy. Its daemons are started here, without systemd.
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { median, timeMs, times } from './measure.ts';

const run = promisify(execFile);

/** libvirt probes QEMU at the first definition, which takes half a minute where processes are reaped late. */
const probeDeadlineMs = 180_000;
const deadlineMs = 30_000;

export interface LibvirtTimes {
  readonly startMs: number;
  readonly destroyMs: number;
}

const domain = (name: string, kernel: string, initrd: string): string => `<domain type='qemu'>
  <name>${name}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
  <os><type machine='q35'>hvm</type><kernel>${kernel}</kernel><initrd>${initrd}</initrd><cmdline>console=ttyS0</cmdline></os>
  <features><acpi/></features><cpu mode='maximum'/>
  <devices>
    <controller type='virtio-serial'/><serial type='pty'/>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <interface type='user'><model type='virtio'/></interface><memballoon model='none'/>
  </devices>
</domain>`;

async function daemons(directory: string): Promise<() => Promise<void>> {
  const pids = ['virtlogd', 'libvirtd'].map((name) => join(directory, `${name}.pid`));
  const [virtlogd = '', libvirtd = ''] = pids;
  await run('virtlogd', ['-d', '-p', virtlogd]);
  await run('libvirtd', ['-d', '-p', libvirtd]);
  return async () => {
    for (const file of pids.toReversed()) {
      const pid = Number(await readFile(file, 'utf8').catch(() => '0'));
      if (pid > 0) process.kill(pid, 'SIGTERM');
    }
  };
}

/** Medians, less what virsh takes to connect and do nothing. Undefined where libvirt is not installed. */
export async function libvirtTimes(
  kernel: string,
  initrd: string,
  runs: number,
): Promise<LibvirtTimes | undefined> {
  if (
    await run('sh', ['-c', 'command -v libvirtd virtlogd virsh']).then(
      () => false,
      () => true,
    )
  )
    return undefined;
  const directory = await mkdtemp(join(tmpdir(), 'wirt-libvirt-'));
  const stop = await daemons(directory);
  const virsh = (commands: readonly string[], timeout = deadlineMs): Promise<number> =>
    timeMs(() => run('virsh', ['-q', '-c', 'qemu:///system', commands.join('; ')], { timeout }));
  try {
    // Its QEMU runs as a user of its own, who must be able to read the guest's files.
    for (const [from, to] of [
      [kernel, 'kernel'],
      [initrd, 'initrd'],
    ] as const)
      await run('install', ['-m', '644', from, join(directory, to)]);
    await run('chmod', ['755', directory]);
    const file = join(directory, 'domain.xml');
    await writeFile(file, domain('wirt-bench', join(directory, 'kernel'), join(directory, 'initrd')));
    await virsh([`define ${file}`, 'undefine wirt-bench'], probeDeadlineMs);
    const idle = median(await times(runs, () => virsh(['uri'])));
    const destroys: number[] = [];
    const starts = await times(runs, async () => {
      const took = await virsh([`define ${file}`, 'start wirt-bench']);
      destroys.push(await virsh(['destroy wirt-bench']));
      await virsh(['undefine wirt-bench']);
      return took;
    });
    return { startMs: median(starts) - idle, destroyMs: median(destroys.sort((a, b) => a - b)) - idle };
  } finally {
    await stop();
    await rm(directory, { recursive: true, force: true });
  }
}
