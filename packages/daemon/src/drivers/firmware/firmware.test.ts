import { mkdtemp, readFile, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { UefiLookup } from '../../platform/uefi-images.ts';
import { createFirmware } from './firmware.ts';

let directory: string;
let hostFiles: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'wirt-firmware-'));
  hostFiles = await mkdtemp(join(tmpdir(), 'wirt-uefi-'));
});

afterEach(async () => {
  for (const path of [directory, hostFiles]) await rm(path, { recursive: true, force: true });
});

/** A host with firmware described by name, code and variables in files of the test. */
async function host(layouts: Readonly<Record<string, Buffer>>): Promise<UefiLookup> {
  const descriptors: Record<string, string> = {};
  for (const [name, vars] of Object.entries(layouts)) {
    await writeFile(join(hostFiles, `${name}.code`), 'code');
    await writeFile(join(hostFiles, `${name}.vars`), vars);
    descriptors[`${name}.json`] = JSON.stringify({
      'interface-types': ['uefi'],
      mapping: {
        device: 'flash',
        executable: { filename: join(hostFiles, `${name}.code`), format: 'raw' },
        'nvram-template': { filename: join(hostFiles, `${name}.vars`), format: 'raw' },
      },
      targets: [{ architecture: 'x86_64', machines: ['pc-q35-*'] }],
      features: [],
    });
  }
  return {
    list: async (path) => (path === '/usr/share/qemu/firmware' ? Object.keys(descriptors) : []),
    text: async (path) => descriptors[path.slice(path.lastIndexOf('/') + 1)],
    exists: async (path) => (await stat(path).catch(() => undefined)) !== undefined,
  };
}

const firmwareOn = (files: UefiLookup, architecture = 'x86_64') =>
  createFirmware({ stateDirectory: directory, files, architecture });
const bytes = (length: number): Buffer => Buffer.alloc(length, 'v');

it('says what to install where there is none, and leaves nothing', async () => {
  for (const [architecture, name] of [
    ['x86_64', 'ovmf'],
    ['aarch64', 'qemu-efi-aarch64'],
  ] as const) {
    const firmware = firmwareOn(await host({}), architecture);
    const nowhere: UefiLookup = { ...(await host({})), exists: async () => false };
    await expect(firmwareOn(nowhere, architecture).prepare('one')).rejects.toMatchObject({
      code: 'host.firmware_missing',
      hint: expect.stringMatching(new RegExp(`apt install ${name}$`)),
    });
    expect(await firmware.list()).toEqual([]);
  }
});

it('keeps variables with code of their layout when the host’s firmware changes', async () => {
  const before = await firmwareOn(await host({ small: bytes(100) })).prepare('one');
  const both = await host({ '10-large': bytes(200), '20-small': bytes(100) });
  const after = await firmwareOn(both).prepare('one');
  expect(after).toEqual({ vars: before.vars, code: join(hostFiles, '20-small.code') });
  expect((await firmwareOn(both).prepare('two')).code).toBe(join(hostFiles, '10-large.code'));
});

it('starts no guest with code that its variables do not fit', async () => {
  const { vars } = await firmwareOn(await host({ small: bytes(100) })).prepare('one');
  const nowhere = await host({ '10-large': bytes(200) });
  await rm(join(hostFiles, 'small.vars'));
  await expect(firmwareOn(nowhere).prepare('one')).rejects.toMatchObject({
    code: 'host.firmware_missing',
    message: expect.stringContaining(vars),
  });
  expect((await readFile(vars)).equals(bytes(100))).toBe(true);
});

it('takes a template that is a link', async () => {
  const files = await host({ one: bytes(100) });
  await writeFile(join(hostFiles, 'real'), bytes(50));
  await rm(join(hostFiles, 'one.vars'));
  await symlink('real', join(hostFiles, 'one.vars'));
  const { vars } = await firmwareOn(files).prepare('one');
  expect((await readFile(vars)).equals(bytes(50))).toBe(true);
});

it('takes no room for zeros', async () => {
  const template = Buffer.alloc(4_194_304);
  template.write('variables', 1_000_000);
  const { vars } = await firmwareOn(await host({ arm: template })).prepare('one');
  expect((await readFile(vars)).equals(template)).toBe(true);
  expect((await stat(vars)).blocks * 512).toBeLessThan(1_048_576);
});

it('copies nothing that a guest has made huge, or into a link', async () => {
  const firmware = firmwareOn(await host({ small: bytes(100) }));
  const { vars } = await firmware.prepare('one');
  await truncate(vars, 1024 ** 4);
  await expect(firmware.save('one', 'snap')).rejects.toMatchObject({
    cause: { message: expect.stringContaining('1099511627776') },
  });
  await rm(vars);
  await symlink('/etc/hostname', vars);
  await expect(firmware.save('one', 'snap')).rejects.toThrow(vars);
  await expect(stat(join(directory, 'firmware', 'one', 'snapshot-snap.fd'))).rejects.toMatchObject({
    code: 'ENOENT',
  });
});

it('goes over what a daemon left that died while copying', async () => {
  const firmware = firmwareOn(await host({ small: bytes(100) }));
  const { vars } = await firmware.prepare('one');
  const aside = join(directory, 'firmware', 'one', '.snapshot-snap.fd.tmp');
  await writeFile(aside, Buffer.alloc(5000, 'x'));
  await firmware.save('one', 'snap');
  await writeFile(vars, Buffer.alloc(100, 'n'));
  await firmware.restore('one', 'snap');
  expect((await readFile(vars)).equals(bytes(100))).toBe(true);
  await expect(stat(aside)).rejects.toMatchObject({ code: 'ENOENT' });
});

it('names the path when the state directory cannot be written', async () => {
  await writeFile(join(directory, 'firmware'), 'in the way');
  await expect(firmwareOn(await host({ small: bytes(100) })).prepare('one')).rejects.toMatchObject({
    message: expect.stringContaining(directory),
  });
});
