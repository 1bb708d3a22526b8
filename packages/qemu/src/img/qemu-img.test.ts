import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type QemuImgOptions,
  qemuImgCheck,
  qemuImgConvert,
  qemuImgCreate,
  qemuImgInfo,
  qemuImgResize,
} from './qemu-img.ts';

// A program in the place of qemu-img, for what the real one cannot be made to do on demand.
let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'fake-img-'));
});

afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

let scripts = 0;

async function fake(body: string): Promise<QemuImgOptions & { path: string; format: string }> {
  scripts += 1;
  const script = join(directory, `${scripts}.mjs`);
  await writeFile(script, body);
  return { launcher: [process.execPath, script], timeoutMs: 10_000, path: '/images/a', format: 'qcow2' };
}

/** Fails with its arguments as its last words. */
const ECHO =
  'process.stderr.write(`qemu-img: ${JSON.stringify(process.argv.slice(3))}\\n`); process.exitCode = 1;';

async function argsOf(run: (options: QemuImgOptions) => Promise<unknown>): Promise<string> {
  const error = await run(await fake(ECHO)).then(
    () => undefined,
    (reason: Error) => reason,
  );
  return error?.message ?? 'no error';
}

describe('the arguments of qemu-img', () => {
  const target = { path: '/i/a.qcow2', format: 'qcow2' };

  test('name the format always and make every path absolute', async () => {
    expect(await argsOf((o) => qemuImgInfo({ ...o, ...target, path: '-x' }))).toBe(
      `qemu-img info: ["info","--output","json","-f","qcow2","${process.cwd()}/-x"]`,
    );
    expect(await argsOf((o) => qemuImgInfo({ ...o, ...target, path: 'json:{}', forceShare: true }))).toBe(
      `qemu-img info: ["info","--output","json","-f","qcow2","-U","${process.cwd()}/json:{}"]`,
    );
    expect(await argsOf((o) => qemuImgCheck({ ...o, ...target, repair: 'leaks' }))).toContain('["check"');
  });

  test('of create carry size, options with doubled commas, and backing', async () => {
    const formatOptions = { cluster_size: 131072, lazy_refcounts: true, data_file: 'a,b' };
    expect(await argsOf((o) => qemuImgCreate({ ...o, ...target, sizeBytes: 1024, formatOptions }))).toBe(
      'qemu-img create: ["create","-q","-f","qcow2","-o",' +
        '"cluster_size=131072,lazy_refcounts=on,data_file=a,,b","/i/a.qcow2","1024"]',
    );
    const backing = { path: 'nbd://host', format: 'raw' };
    expect(await argsOf((o) => qemuImgCreate({ ...o, ...target, backing }))).toBe(
      'qemu-img create: ["create","-q","-f","qcow2","-b","./nbd://host","-F","raw","/i/a.qcow2"]',
    );
  });

  test('of convert and resize carry what was asked for and nothing else', async () => {
    const source = { path: '/i/b', format: 'raw' };
    expect(await argsOf((o) => qemuImgConvert({ ...o, source, target }))).toBe(
      'qemu-img convert: ["convert","-p","-f","raw","-O","qcow2","/i/b","/i/a.qcow2"]',
    );
    const all = {
      compress: true,
      keepTarget: true,
      sourceCache: 'none',
      targetCache: 'unsafe',
      forceShare: true,
      targetIsZero: true,
      parallel: 16,
      outOfOrder: true,
      sparseSizeBytes: 65536,
    };
    expect(await argsOf((o) => qemuImgConvert({ ...o, ...all, source, target }))).toBe(
      'qemu-img convert: ["convert","-p","-c","-n","--target-is-zero","-W","-U","-m","16","-S","65536",' +
        '"-T","none","-t","unsafe","-f","raw","-O","qcow2","/i/b","/i/a.qcow2"]',
    );
    expect(await argsOf((o) => qemuImgResize({ ...o, ...target, sizeBytes: 5, shrink: true }))).toBe(
      'qemu-img resize: ["resize","-q","-f","qcow2","--shrink","/i/a.qcow2","5"]',
    );
  });

  test('of info and convert carry a node as one word, and no format beside it', async () => {
    const blockdev = { driver: 'qcow2', file: { driver: 'file', filename: '/i/a,b' }, backing: null };
    const word = JSON.stringify(`json:${JSON.stringify(blockdev)}`);
    expect(await argsOf((o) => qemuImgInfo({ timeoutMs: o.timeoutMs, launcher: o.launcher, blockdev }))).toBe(
      `qemu-img info: ["info","--output","json",${word}]`,
    );
    expect(await argsOf((o) => qemuImgConvert({ ...o, source: { blockdev }, target }))).toBe(
      `qemu-img convert: ["convert","-p","-O","qcow2",${word},"/i/a.qcow2"]`,
    );
  });

  test.each([-1, 1.5, Number.NaN, 2 ** 60])('refuse the size %s', async (sizeBytes) => {
    await expect(qemuImgResize({ timeoutMs: 1000, ...target, sizeBytes })).rejects.toThrow(RangeError);
  });
});

describe('a qemu-img', () => {
  test('that hangs and ignores polite signals is killed at the deadline', async () => {
    const options = await fake("process.on('SIGTERM', () => {}); setInterval(() => {}, 1000);");
    await expect(qemuImgInfo({ ...options, timeoutMs: 200 })).rejects.toMatchObject({
      code: 'qemu_img_timeout',
      message: 'qemu-img info: not done within 200 ms',
    });
  });

  test('is killed by an abort, and gone when the caller hears of it', async () => {
    const pidFile = join(directory, 'pid');
    const options = await fake(`
      import { writeFileSync } from 'node:fs';
      writeFileSync(${JSON.stringify(pidFile)}, String(process.pid));
      process.stdout.write('(1.00/100%)');
      setInterval(() => {}, 1000);`);
    const controller = new AbortController();
    const source = { path: '/i/b', format: 'raw' };
    const converting = qemuImgConvert({
      ...options,
      source,
      target: { path: join(directory, 'x'), format: 'raw' },
      signal: controller.signal,
      onProgress: () => controller.abort(new Error('enough')),
    });
    await expect(converting).rejects.toThrow('enough');
    const pid = Number(await readFile(pidFile, 'utf8'));
    expect(() => process.kill(pid, 0)).toThrow('ESRCH');
    await expect(qemuImgInfo({ ...options, signal: controller.signal })).rejects.toThrow('enough');
  });

  test('that floods is killed, and its errors are kept short', async () => {
    const flood = await fake("const s = 'x'.repeat(65536); const f = () => process.stdout.write(s, f); f();");
    await expect(qemuImgInfo(flood)).rejects.toMatchObject({ code: 'qemu_img_output' });
    const errors = await fake(
      "process.stderr.write('y'.repeat(2e6) + '\\nlast words\\n'); process.exitCode = 1;",
    );
    const failure = await qemuImgInfo(errors).catch((error: unknown) => error);
    expect(failure).toMatchObject({
      code: 'qemu_img_error',
      exitCode: 1,
      message: 'qemu-img info: last words',
    });
    expect((failure as { stderr: string }).stderr.length).toBeLessThanOrEqual(65536);
  });

  test.each(['', 'not JSON', '[]', '{}', '{"filename":"a","format":"raw","virtual-size":-1}'])(
    'that answers %j is refused',
    async (answer) => {
      const options = await fake(`process.stdout.write(${JSON.stringify(answer)});`);
      await expect(qemuImgInfo(options)).rejects.toMatchObject({ code: 'qemu_img_output' });
    },
  );

  test('gets a plain environment and nothing to read', async () => {
    const options = await fake(`
      let input = '';
      process.stdin.on('data', (d) => (input += d)).on('end', () => {
        const format = JSON.stringify([Object.keys(process.env).sort(), process.env.LC_ALL, input]);
        process.stdout.write(JSON.stringify({ filename: 'a', format, 'virtual-size': 1 }));
      });`);
    const { format } = await qemuImgInfo(options);
    expect(JSON.parse(format)).toEqual([['LC_ALL', 'PATH'], 'C', '']);
  });

  test('gets the environment that it is to have', async () => {
    const options = await fake(`
      const format = JSON.stringify(process.env);
      process.stdout.write(JSON.stringify({ filename: 'a', format, 'virtual-size': 1 }));`);
    const { format } = await qemuImgInfo({ ...options, env: { A: 'b' } });
    expect(JSON.parse(format)).toEqual({ A: 'b' });
  });

  test('that could not write everything out has failed, whatever its exit code', async () => {
    const words = 'Failed to flush the L2 block cache: No space left on device';
    const options = await fake(`process.stderr.write('qemu-img: ${words}\\n');`);
    await expect(qemuImgCreate({ ...options, sizeBytes: 1024 })).rejects.toMatchObject({
      code: 'qemu_img_error',
      stderr: expect.stringContaining(words),
    });
  });

  test('leaves no process behind when it has ended', async () => {
    const options = await fake(`
      import { spawn } from 'node:child_process';
      const child = spawn('sleep', ['600'], { stdio: 'ignore' });
      child.unref();
      process.stdout.write(JSON.stringify({ filename: 'a', format: String(child.pid), 'virtual-size': 1 }));`);
    const { format } = await qemuImgInfo(options);
    // Killed, but perhaps not yet taken away by the one who inherits it.
    const state = await readFile(`/proc/${format}/stat`, 'utf8').catch(() => 'gone');
    expect(state).toMatch(/^gone$|\) Z /);
  });

  test('that is killed by somebody else says so', async () => {
    const options = await fake("process.kill(process.pid, 'SIGKILL');");
    await expect(qemuImgInfo(options)).rejects.toThrow('qemu-img info: killed by SIGKILL');
  });

  test('that is not there is named', async () => {
    const options = { timeoutMs: 1000, path: '/i/a', format: 'raw', binary: '/nowhere/qemu-img' };
    await expect(qemuImgInfo(options)).rejects.toMatchObject({
      code: 'qemu_img_unavailable',
      message: 'qemu-img info: cannot start /nowhere/qemu-img',
      cause: { code: 'ENOENT' },
    });
  });
});
