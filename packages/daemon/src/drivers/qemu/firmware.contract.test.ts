import { existsSync } from 'node:fs';
import { chown, copyFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createQemuHarness, guestIdentity, type QemuHarness } from './harness.fixture.ts';

const never = new AbortController().signal;
const [code, template] = ['/usr/share/OVMF/OVMF_CODE_4M.fd', '/usr/share/OVMF/OVMF_VARS_4M.fd'];
let harness: QemuHarness;

beforeEach(async () => {
  harness = await createQemuHarness();
});
afterEach(() => harness[Symbol.asyncDispose]());

// The firmware comes in a package of its own (ovmf).
describe.skipIf(!existsSync(code))('UEFI firmware', () => {
  it('runs, and writes its variables into the guest’s own file', async () => {
    const vars = join(harness.directory, 'vars.fd');
    await copyFile(template, vars);
    await chown(vars, guestIdentity.uid, guestIdentity.gid);
    const { kernel: _kernel, ...plan } = harness.plan();
    const guest = await harness
      .open()
      .launch(
        { ...plan, nics: [], memoryMib: 128, firmware: { kind: 'uefi', code, vars } },
        harness.confinement,
        {
          signal: never,
          onStep: async () => {},
        },
      );
    const spoke = new Promise<void>((resolve) => {
      let seen = '';
      guest.console.listen((data) => {
        seen += Buffer.from(data).toString('latin1');
        if (seen.includes('BdsDxe')) resolve();
      });
    });
    await guest.resume(never);
    await spoke;
    await guest.kill(never);
    expect((await readFile(vars)).equals(await readFile(template))).toBe(false);
  });
});
