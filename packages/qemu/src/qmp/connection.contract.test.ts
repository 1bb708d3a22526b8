import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { qemuMissing, type RealQemu, startQemu } from '../real-qemu.ts';
import type { QmpEvent } from './commands.ts';
import { connectQmp, type QmpConnection } from './connection.ts';
import { QmpClosed } from './errors.ts';

/** The next event of that name; call it before the command that causes it. */
function nextEvent(qmp: QmpConnection, name: string): Promise<QmpEvent> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no event ${name}`)), 20_000);
    const unsubscribe = qmp.on((event) => {
      if (event.event !== name) return;
      clearTimeout(timer);
      unsubscribe();
      resolve(event);
    });
  });
}

const skipped = qemuMissing ? ` (skipped: ${qemuMissing})` : '';

describe.skipIf(qemuMissing)(`a real QEMU without a machine${skipped}`, () => {
  let qemu: RealQemu;
  let qmp: QmpConnection;

  beforeEach(async () => {
    qemu = await startQemu(
      'none',
      '-name',
      'a name,, with €',
      '-uuid',
      '00010203-0405-0607-0809-0a0b0c0d0e0f',
    );
    qmp = await connectQmp({ path: qemu.path, timeoutMs: 20_000 });
  });

  afterEach(async () => {
    await qmp?.close();
    await qemu?.[Symbol.asyncDispose]();
  });

  test('says its version twice the same', async () => {
    expect(qmp.greeting.version.qemu.major).toBeGreaterThanOrEqual(7);
    expect(await qmp.execute('query-version')).toEqual(qmp.greeting.version);
    expect(qmp.greeting.capabilities).toContain('oob');
  });

  test('answers typed commands', async () => {
    expect((await qmp.execute('query-status')).status).toBe('prelaunch');
    expect((await qmp.execute('query-uuid')).UUID).toBe('00010203-0405-0607-0809-0a0b0c0d0e0f');
    expect((await qmp.execute('query-name')).name).toBe('a name, with €');
    expect((await qmp.execute('query-kvm')).enabled).toBe(false);
    expect((await qmp.execute('query-target')).arch).toBe('x86_64');
    const machines = await qmp.execute('query-machines');
    expect(machines.find((machine) => machine.alias === 'q35')?.name).toMatch(/^pc-q35-/);
    expect((await qmp.execute('query-cpu-definitions')).map((cpu) => cpu.name)).toContain('max');
    expect((await qmp.execute('query-commands')).length).toBeGreaterThan(100);
    expect((await qmp.execute('query-chardev')).length).toBeGreaterThan(0);
  });

  test('refuses in its own words what it does not know, and lives on', async () => {
    await expect(qmp.executeUntyped('no-such-command')).rejects.toMatchObject({
      code: 'qmp_error',
      class: 'CommandNotFound',
    });
    await expect(qmp.executeUntyped('query-status', { more: 1 })).rejects.toMatchObject({
      class: 'GenericError',
    });
    await expect(qmp.execute('set_link', { name: 'net0', up: true })).rejects.toMatchObject({
      class: 'DeviceNotFound',
    });
    await qmp.execute('query-status');
  });

  test('takes any text that is Unicode, and no answer gets lost by it', async () => {
    for (const property of [
      '\u0000',
      '"\\',
      '\u{1f600}',
      '\ud83d',
      'x\ud800y',
      '\uffff',
      'a'.repeat(100_000),
    ]) {
      const call = qmp.execute('qom-get', { path: '/machine', property });
      await expect(call).rejects.toMatchObject({ code: 'qmp_error', command: 'qom-get' });
    }
    await qmp.execute('query-status');
  });

  test('answers a hundred commands at once', async () => {
    const answers = await Promise.all(Array.from({ length: 100 }, () => qmp.execute('query-status')));
    expect(new Set(answers.map((answer) => answer.status))).toEqual(new Set(['prelaunch']));
  });

  test('tells of its end before it goes, and the end is told', async () => {
    const shutdown = nextEvent(qmp, 'SHUTDOWN');
    await qmp.execute('quit');
    expect(await shutdown).toMatchObject({ data: { guest: false, reason: 'host-qmp-quit' } });
    expect(await qmp.closed).toBeInstanceOf(QmpClosed);
    expect(await qemu.exited).toEqual([0, null]);
  });

  test('that is killed rejects what waits', async () => {
    qemu.process.kill('SIGSTOP');
    const pending = qmp.execute('query-status');
    qemu.process.kill('SIGKILL');
    await expect(pending).rejects.toMatchObject({ code: 'qmp_closed' });
    expect(await qmp.closed).toBeInstanceOf(QmpClosed);
  });

  test('that is stopped misses the deadline, and goes on afterwards in order', async () => {
    qemu.process.kill('SIGSTOP');
    const late = qmp.execute('query-name', {}, { timeoutMs: 100 });
    await expect(late).rejects.toMatchObject({ code: 'qmp_timeout' });
    qemu.process.kill('SIGCONT');
    expect((await qmp.execute('query-status')).status).toBe('prelaunch');
  });

  test('gives its socket to one client at a time: the next one misses its deadline or gets its turn', async () => {
    await expect(connectQmp({ path: qemu.path, timeoutMs: 100 })).rejects.toMatchObject({
      code: 'qmp_timeout',
    });
    const turn = connectQmp({ path: qemu.path, timeoutMs: 20_000 });
    await qmp.close();
    await using second = await turn;
    expect((await second.execute('query-status')).running).toBe(false);
  });
});

describe.skipIf(qemuMissing)(`a real QEMU with a machine${skipped}`, () => {
  test('runs, stops, is reset and asked to power down, each with its event', async () => {
    await using qemu = await startQemu('q35', '-smp', '2', '-m', '32', '-device', 'VGA');
    await using qmp = await connectQmp({ path: qemu.path, timeoutMs: 20_000 });
    const cpus = await qmp.execute('query-cpus-fast');
    expect(cpus.map((cpu) => cpu['cpu-index'])).toEqual([0, 1]);
    expect(cpus[0]?.target).toBe('x86_64');
    expect(await qmp.execute('query-memory-size-summary')).toMatchObject({ 'base-memory': 32 * 1024 * 1024 });

    const resumed = nextEvent(qmp, 'RESUME');
    await qmp.execute('cont');
    await resumed;
    expect((await qmp.execute('query-status')).status).toBe('running');
    const reset = nextEvent(qmp, 'RESET');
    await qmp.execute('system_reset');
    expect(await reset).toMatchObject({ data: { guest: false, reason: 'host-qmp-system-reset' } });
    const powerdown = nextEvent(qmp, 'POWERDOWN');
    await qmp.execute('system_powerdown');
    await powerdown;
    const stopped = nextEvent(qmp, 'STOP');
    await qmp.execute('stop');
    await stopped;
    expect((await qmp.execute('query-status')).status).toBe('paused');
    const ended = once(qemu.process, 'exit');
    await qmp.execute('quit');
    expect(await ended).toEqual([0, null]);
  });
});
