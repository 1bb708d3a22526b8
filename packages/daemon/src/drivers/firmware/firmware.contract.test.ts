import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { machine, tmpdir } from 'node:os';
import { join } from 'node:path';
import { firmwareContract } from '@wirt/core/contract/firmware';
import { describe, expect, it } from 'vitest';
import { createFirmware } from './firmware.ts';

const template = '/usr/share/OVMF/OVMF_VARS_4M.fd';
const qemu = '/usr/bin/qemu-system-x86_64';
const isRoot = process.geteuid?.() === 0;

async function stateDirectory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'wirt-firmware-'));
  // As wirtd makes its state directory.
  await chmod(path, 0o711);
  return path;
}

// Needs Debian's ovmf, on x86.
describe.skipIf(machine() !== 'x86_64' || !existsSync(template))('with OVMF', () => {
  firmwareContract('firmware', async () => {
    const directory = await stateDirectory();
    return {
      open: () => createFirmware({ stateDirectory: directory }),
      template: await readFile(template),
      destroy: () => rm(directory, { recursive: true, force: true }),
    };
  });

  // Becoming another user needs root.
  it.skipIf(!isRoot || !existsSync(qemu))(
    'boots QEMU as the guest’s user, and keeps what it writes',
    async () => {
      const directory = await stateDirectory();
      const uid = 0x7e00_1001;
      try {
        const firmware = createFirmware({ stateDirectory: directory });
        const { code, vars } = await firmware.prepare('guest');
        await firmware.grant('guest', { uid, gid: uid, groups: [], own: true });
        const said = await boot(uid, code, vars);
        expect(said).toContain('BdsDxe');
        expect((await readFile(vars)).equals(await readFile(template))).toBe(false);
      } finally {
        await rm(directory, { recursive: true });
      }
    },
  );
});

/** What the firmware says on the serial line, until it has tried to boot. */
function boot(uid: number, code: string, vars: string): Promise<string> {
  const pflash = (node: string, file: string, readOnly: string): string[] => [
    '-blockdev',
    `{"driver":"raw","node-name":"${node}","read-only":${readOnly},"file":{"driver":"file","filename":"${file}"}}`,
  ];
  const args = [
    ...[`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--no-new-privs', qemu],
    ...[
      '-nodefaults',
      '-no-user-config',
      '-display',
      'none',
      '-accel',
      'tcg',
      '-m',
      '128',
      '-serial',
      'stdio',
    ],
    ...pflash('code', code, 'true'),
    ...pflash('vars', vars, 'false'),
    ...['-machine', 'q35,pflash0=code,pflash1=vars'],
  ];
  const child = spawn('setpriv', args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 45_000,
    killSignal: 'SIGKILL',
  });
  const { promise, resolve } = Promise.withResolvers<string>();
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      said += chunk.toString('latin1');
      if (/BdsDxe: (starting|failed|No bootable)/.test(said)) child.kill('SIGTERM');
    });
  child.once('close', () => resolve(said));
  return promise;
}
