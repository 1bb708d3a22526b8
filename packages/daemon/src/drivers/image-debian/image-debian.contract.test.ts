// Builds the image from the distribution's packages and boots it in QEMU under software emulation. It takes minutes, and
// the functional tests build and boot the image in every run: only with WIRT_TEST_SLOW=1.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestImage, testImage, testWorkDirectory } from '../../platform/test-image.fixture.ts';
import { createDebianImageBuilder } from './image-debian.ts';

const buildTimeoutMs = 25 * 60_000;
const bootTimeoutMs = 5 * 60_000;
const isAsked = process.env['WIRT_TEST_SLOW'] === '1';
const isPossible = isAsked && process.arch === 'x64' && process.getuid?.() === 0;
const uefi = { code: '/usr/share/OVMF/OVMF_CODE_4M.fd', variables: '/usr/share/OVMF/OVMF_VARS_4M.fd' };

const workDirectory = testWorkDirectory('debian');
let built: TestImage<'disk'>;
let folder: string;

describe.skipIf(!isPossible)('the image debian-12 (needs root, amd64 and WIRT_TEST_SLOW=1)', () => {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'wirt-debian-'));
    built = await testImage({
      kind: 'disk',
      name: 'debian',
      driver: import.meta.dirname,
      builder: createDebianImageBuilder({ workDirectory }),
      timeoutMs: buildTimeoutMs,
    });
  }, buildTimeoutMs);

  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  it('is a sound disk of its own, not compressed, smaller than 600 MB', () => {
    const check = spawnSync('qemu-img', ['check', '-f', 'qcow2', join(built.directory, built.image.file)]);
    expect(check.status).toBe(0);
    expect(built.image).toMatchObject({ format: 'qcow2', firmware: ['bios', 'uefi'], cloudInit: true });
    expect(built.image.virtualSizeBytes).toBe(3 * 1024 ** 3);
    expect(built.image.sizeBytes).toBeLessThan(600e6);
  });

  it.each(['bios', 'uefi'] as const)(
    'boots by itself under %s until cloud-init is done',
    async (firmware) => {
      const said = await bootUntil(firmware, /Cloud-init v\. \S+ finished at/);
      expect(said).toContain('Debian GNU/Linux');
    },
    bootTimeoutMs,
  );

  it.each(['installing packages', 'making the initramfs', 'writing the image'])(
    'leaves no file, process or mount when it is cancelled while %s',
    async (wantedStage) => {
      const target = await mkdtemp(join(folder, 'cancelled-'));
      const controller = new AbortController();
      const builder = createDebianImageBuilder({ workDirectory });
      const build = builder.build(target, {
        signal: controller.signal,
        onProgress: ({ stage }) => {
          if (stage === wantedStage) controller.abort('not wanted any more');
        },
      });
      await expect(build).rejects.toBe('not wanted any more');
      expect(await readdir(target)).toEqual([]);
      expect(await readdir(workDirectory)).toEqual(['debian-12-packages']);
      expect(await readFile('/proc/mounts', 'utf8')).not.toContain(workDirectory);
      expect(await rootsOfProcesses()).not.toContain(workDirectory);
    },
    buildTimeoutMs,
  );
});

async function rootsOfProcesses(): Promise<string> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lines = pids.map(async (pid) => await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => ''));
  return (await Promise.all(lines)).join('\n');
}

async function bootUntil(firmware: 'bios' | 'uefi', pattern: RegExp): Promise<string> {
  const variables = join(folder, 'variables.fd');
  if (firmware === 'uefi') await copyFile(uefi.variables, variables);
  const flash = (file: string, more: string): string[] => [
    '-drive',
    `if=pflash,format=raw,file=${file}${more}`,
  ];
  const disk = `if=none,id=disk0,format=qcow2,snapshot=on,file=${join(built.directory, built.image.file)}`;
  const guest = spawn(
    'qemu-system-x86_64',
    [
      ...['-machine', 'q35', '-accel', 'tcg,thread=multi', '-cpu', 'max', '-m', '512', '-smp', '2'],
      ...['-nodefaults', '-no-user-config', '-display', 'none', '-serial', 'stdio'],
      ...['-drive', disk, '-device', 'virtio-blk-pci,drive=disk0'],
      ...['-netdev', 'user,id=net0,restrict=on', '-device', 'virtio-net-pci,netdev=net0,romfile='],
      ...(firmware === 'uefi' ? [...flash(uefi.code, ',readonly=on'), ...flash(variables, '')] : []),
    ],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
      signal: AbortSignal.timeout(bootTimeoutMs),
      killSignal: 'SIGKILL',
    },
  );
  guest.on('error', () => undefined);
  let said = '';
  for await (const chunk of guest.stdout) {
    said += String(chunk);
    if (pattern.test(said)) break;
  }
  if (guest.exitCode === null && guest.signalCode === null) {
    guest.kill('SIGKILL');
    await once(guest, 'exit');
  }
  expect(said).toMatch(pattern);
  return said;
}
