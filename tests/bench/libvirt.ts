// libvirt on the same machine with the same guest: define + start, and destroy. Its daemons are started here, without systemd.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
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

/**
 * In a PID namespace of their own, where a shell reaps at once what libvirt's daemons orphan: libvirt waits for the zombies of
 * its QEMUs, and some machines' first process reaps late, which would be held against libvirt.
 */
async function daemons(): Promise<() => Promise<void>> {
  const script = 'virtlogd -d; libvirtd & wait';
  const child = spawn('unshare', ['--pid', '--fork', '--mount-proc', '--kill-child', 'sh', '-c', script], {
    stdio: 'ignore',
  });
  const exit = once(child, 'exit');
  return async () => {
    child.kill('SIGKILL');
    await exit;
  };
}

/** Medians, less what virsh takes to connect and do nothing. Undefined where libvirt is not installed. */
export async function libvirtTimes(
  kernel: string,
  initrd: string,
  runs: number,
): Promise<LibvirtTimes | undefined> {
  if (
    await run('sh', ['-c', 'command -v libvirtd && command -v virtlogd && command -v virsh']).then(
      () => false,
      () => true,
    )
  )
    return undefined;
  const directory = await mkdtemp(join(tmpdir(), 'wirt-libvirt-'));
  const stop = await daemons();
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
    await run('sh', ['-c', 'until virsh -q -c qemu:///system uri; do sleep 0.2; done'], {
      timeout: deadlineMs,
    });
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
