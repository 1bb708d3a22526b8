import { existsSync } from 'node:fs';
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hostInspectorContract } from '@wirt/core/contract/host-inspector';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createHostInspector } from './host.ts';
import { probeOutput } from './probe.fixture.ts';
import { requiredFeatures } from './qemu-features.ts';

const qemuBinary = '/usr/bin/qemu-system-x86_64';
const uidRange = { first: 2_130_706_432, count: 65_536 };
const events: string[] = [];
const log = (event: string): void => void events.push(event);
const logger = { debug: log, info: log, warn: log, error: log };
const memoryFiles = { usable: async () => true };

let directory = '';
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'wirt-inspect-'));
});
afterAll(() => rm(directory, { recursive: true }));
beforeEach(() => void events.splice(0));

const cache = (): string => join(directory, 'cache');
const inspector = (binary: string, cacheDirectory = cache()) =>
  createHostInspector({ qemuBinary: binary, cacheDirectory, uidRange, logger, memoryFiles });
const signal = (): AbortSignal => AbortSignal.timeout(30_000);

/** A program in QEMU's place. */
async function stub(name: string, script: string): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
  return path;
}
async function stubThatSays(name: string, output: string): Promise<string> {
  await writeFile(join(directory, `${name}.out`), output);
  return stub(name, `echo asked >> "$0.asked"; cat > /dev/null; cat "$0.out"`);
}

// Needs QEMU for x86.
describe.skipIf(!existsSync(qemuBinary))('with the QEMU of this machine', () => {
  hostInspectorContract('this machine', () =>
    createHostInspector({
      qemuBinary,
      // Not there before the first question.
      cacheDirectory: join(tmpdir(), `wirt-inspect-${process.pid}`, 'cache'),
      uidRange,
      logger,
      memoryFiles,
    }),
  );
  afterAll(() => rm(join(tmpdir(), `wirt-inspect-${process.pid}`), { recursive: true, force: true }));

  it('finds everything that a guest needs, by name in PATH too', async () => {
    const qemu = await inspector('qemu-system-x86_64').requireQemu(signal());
    expect(qemu.version).toMatch(/^\d+\.\d+\.\d+$/);
    expect(qemu.machines).toEqual(['q35', 'microvm']);
    expect(qemu.maxCpus['q35']).toBeGreaterThanOrEqual(255);
    for (const name of requiredFeatures) expect(qemu.features[name], name).toBe(true);
  });
});

describe('a QEMU binary', () => {
  it('is asked once, remembered over restarts, and asked again when it has changed', async () => {
    const binary = await stubThatSays('once', probeOutput());
    const asked = async (): Promise<number> =>
      (await readFile(`${binary}.asked`, 'utf8')).split('\n').length - 1;
    const first = inspector(binary);
    const before = await Promise.all([first.requireQemu(signal()), first.requireQemu(signal())]);
    expect(await inspector(binary).requireQemu(signal())).toEqual(before[0]);
    expect(await asked()).toBe(1);
    await writeFile(binary, `${await readFile(binary, 'utf8')}\n# newer\n`);
    await first.requireQemu(signal());
    expect(await asked()).toBe(2);
    expect((await readdir(cache())).every((name) => /^qemu-[0-9a-f]{16}\.json$/.test(name))).toBe(true);
  });

  it('is asked again when what was remembered cannot be read', async () => {
    const binary = await stubThatSays('garbled', probeOutput());
    const place = join(directory, 'garbled-cache');
    await inspector(binary, place).requireQemu(signal());
    for (const name of await readdir(place)) await writeFile(join(place, name), '{"version":"9.9.9"}');
    expect((await inspector(binary, place).requireQemu(signal())).version).toBe('7.2.22');
  });

  it('that is missing is named, and the host is shown without it', async () => {
    const missing = inspector('qemu-system-nowhere');
    await expect(missing.requireQemu(signal())).rejects.toMatchObject({
      code: 'host.qemu_missing',
      hint: expect.stringContaining('apt-get install'),
    });
    expect((await missing.inspect(signal())).qemu).toBeUndefined();
    const found = (await missing.check(signal())).find(({ id }) => id === 'qemu');
    expect(found).toMatchObject({ level: 'missing', found: expect.stringContaining('qemu-system-nowhere') });
  });

  it('that does not run is broken, with its own last line as the cause', async () => {
    const binary = await stub('broken', 'echo starting >&2; echo "libfoo.so.1: cannot open" >&2; exit 127');
    await expect(inspector(binary).requireQemu(signal())).rejects.toMatchObject({
      code: 'host.qemu_broken',
      cause: { message: 'libfoo.so.1: cannot open' },
    });
    expect((await inspector(binary).check(signal())).find(({ id }) => id === 'qemu')?.fix).toContain(
      '--reinstall',
    );
  });

  it('that is something else, or no program at all, is broken', async () => {
    for (const [name, script] of [
      ['chatty', 'cat > /dev/null; echo "QEMU emulator version 99"'],
      ['silent', 'cat > /dev/null'],
    ] as const) {
      const binary = await stub(name, script);
      await expect(inspector(binary).requireQemu(signal())).rejects.toMatchObject({
        code: 'host.qemu_broken',
      });
    }
    const text = join(directory, 'text');
    await writeFile(text, '\u007fELF garbage');
    await chmod(text, 0o755);
    await expect(inspector(text).requireQemu(signal())).rejects.toMatchObject({ code: 'host.qemu_broken' });
  });

  it('that lacks what guests need is too old, whatever version it says, and is still shown', async () => {
    const binary = await stubThatSays('old', probeOutput({ withoutTypes: ['memory-backend-memfd'] }));
    await expect(inspector(binary).requireQemu(signal())).rejects.toMatchObject({
      code: 'host.qemu_too_old',
      details: { missing: ['memory-backend-memfd'] },
    });
    expect((await inspector(binary).inspect(signal())).qemu?.features['memory-backend-memfd']).toBe(false);
  });

  it('that broke is asked again once it is mended', async () => {
    const binary = await stub('mended', 'exit 1');
    const one = inspector(binary);
    await expect(one.requireQemu(signal())).rejects.toMatchObject({ code: 'host.qemu_broken' });
    await stubThatSays('mended', probeOutput());
    expect((await one.requireQemu(signal())).version).toBe('7.2.22');
  });
});

describe('a cache that cannot be written', () => {
  it('costs a new question at each start of the daemon, and nothing else', async () => {
    const binary = await stubThatSays('uncached', probeOutput());
    const qemu = await inspector(binary, '/sys/kernel/wirt').requireQemu(signal());
    expect(qemu.version).toBe('7.2.22');
    expect(events).toContain('host.qemu_probe_not_cached');
  });
});
