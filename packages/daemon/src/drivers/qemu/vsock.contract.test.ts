// A guest's vsock: the kernel's device reaches QEMU as a descriptor, and what goes wrong with it has a name. Where the host has the device,
// a real guest has one; else a file stands for it, which a real QEMU takes up to its first question.
import { existsSync } from 'node:fs';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Guest } from '@wirt/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createQemuHarness, guestIdentity, ownIdentity, type QemuHarness } from './harness.fixture.ts';

const never = new AbortController().signal;
const device = '/dev/vhost-vsock';
/** Beyond what anybody counts up to. */
const vsockCid = 1_000_000_000 + process.pid;

let harness: QemuHarness;
beforeEach(async () => {
  harness = await createQemuHarness();
});
afterEach(() => harness[Symbol.asyncDispose]());

interface Options {
  readonly qemuBinary?: string;
  readonly vsockDevice?: string;
  readonly without?: boolean;
}

async function launch({ without = false, ...options }: Options): Promise<Guest> {
  const plan = { ...harness.plan(), ...(without ? {} : { vsockCid }) };
  // A fake QEMU lies where only this user may look.
  const identity = options.qemuBinary === undefined ? guestIdentity : ownIdentity;
  const confinement = { identity, controlGroup: { joinFiles: [] } };
  try {
    return await harness.open(options).launch(plan, confinement, { signal: never, onStep: async () => {} });
  } catch (error) {
    expect(await harness.processes(plan.id)).toEqual([]);
    throw error;
  }
}

/** A QEMU that says what it has as descriptor 6, and ends as one does whose guest's CID is another's. */
async function fakeQemu(): Promise<string> {
  const path = join(harness.directory, 'fake-qemu');
  const lines = [
    '#!/bin/sh',
    'case "$*" in *--version*) echo "QEMU emulator version 7.2.0"; exit;; esac',
    'held=$(readlink /proc/self/fd/6) || held=nothing',
    'echo "qemu: -device vhost-vsock-pci on $held: unable to set guest cid: Address already in use" >&2',
    'exit 1',
  ];
  await writeFile(path, `${lines.join('\n')}\n`);
  await chmod(path, 0o755);
  return path;
}

async function fakeDevice(): Promise<string> {
  const path = join(harness.directory, 'vhost-vsock');
  await writeFile(path, '');
  return path;
}

describe('the vsock of a guest', () => {
  it('is opened by wirtd and inherited; that its address is another’s is told by name', async () => {
    const vsockDevice = await fakeDevice();
    const error = launch({ qemuBinary: await fakeQemu(), vsockDevice });
    await expect(error).rejects.toMatchObject({
      code: 'host.vsock_cid_taken',
      message: expect.stringContaining(String(vsockCid)),
      cause: { message: expect.stringContaining(` on ${vsockDevice}: `) },
      details: { cid: vsockCid },
    });
  });

  it('is not inherited by a guest that has none', async () => {
    const error = launch({ qemuBinary: await fakeQemu(), vsockDevice: await fakeDevice(), without: true });
    await expect(error).rejects.toMatchObject({
      code: 'instance.start_failed',
      cause: { message: expect.stringContaining(' on nothing: ') },
    });
  });

  it('is refused with the command that loads it where the host has none', async () => {
    const error = launch({ vsockDevice: join(harness.directory, 'nothing') });
    await expect(error).rejects.toMatchObject({
      code: 'host.vsock_missing',
      hint: expect.stringContaining('modprobe vhost_vsock'),
    });
  });

  it('is what a real QEMU asks of the kernel, in its confinement', async () => {
    // A file is no such device: QEMU has understood all that it was told, and asked it.
    await expect(launch({ vsockDevice: await fakeDevice() })).rejects.toMatchObject({
      code: 'instance.start_failed',
      cause: { message: expect.stringMatching(/vhost.*Inappropriate ioctl for device/) },
    });
  });

  it('is there in a real guest, and no second guest gets its address', async ({ skip }) => {
    if (!existsSync(device)) skip(`the host has no ${device}`);
    const guest = await launch({});
    await expect(launch({})).rejects.toMatchObject({ code: 'host.vsock_cid_taken' });
    await guest.kill(never);
    await (await launch({})).kill(never);
  });
});
