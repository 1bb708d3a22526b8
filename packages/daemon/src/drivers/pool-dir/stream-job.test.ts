// A program in the place of the storage daemon, for what the real one cannot be made to do on demand.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DiskSource } from '@wirt/core';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { runStreamJob, type StreamJob } from './stream-job.ts';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'wirt-stream-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const layer = (name: string): DiskSource['layers'][number] => ({
  layer: name,
  format: 'qcow2',
  location: { driver: 'file', path: `/${name}` },
  direct: false,
});

/** The answers by command, in JavaScript; what is not named is done. */
async function job(answers: string, head = ''): Promise<StreamJob> {
  const program = join(directory, 'program.mjs');
  await writeFile(
    program,
    `${head}
    import { createInterface } from 'node:readline';
    const say = (message) => process.stdout.write(JSON.stringify(message) + '\\n');
    const answers = { quit: () => process.exit(0), ...${answers} };
    say({ QMP: {} });
    for await (const line of createInterface({ input: process.stdin })) {
      const message = JSON.parse(line);
      if (answers[message.execute]?.(message) === undefined) say({ return: {}, id: message.id });
      if (message.execute === 'block-stream') say({ event: 'BLOCK_JOB_COMPLETED', data: { len: 1 } });
    }`,
  );
  return {
    binary: process.execPath,
    launcher: [process.execPath, program],
    env: { PATH: process.env['PATH'] ?? '' },
    chain: { layers: [layer('base'), layer('middle'), layer('top')] },
    baseLayers: 1,
    backingFile: undefined,
    timeoutMs: 20_000,
    dyingMs: 100,
    signal: new AbortController().signal,
    onProgress: () => {},
  };
}

it('writes out what it keeps of the image before it quits', async () => {
  const seen = `{ 'blockdev-reopen': ({ arguments: { options } }) => {
    const want = { 'node-name': 'layer2', file: 'file2', backing: 'layer0', 'read-only': false };
    const [found] = options;
    const isIt = Object.entries(want).every(([name, value]) => found[name] === value);
    if (!isIt) { say({ error: { desc: JSON.stringify(options) }, id: 'blockdev-reopen' }); return true; }
  } }`;
  await expect(runStreamJob(await job(seen))).resolves.toBeUndefined();
});

it('has failed when that cannot be written', async () => {
  const full = `{ 'blockdev-reopen': () => {
    say({ error: { desc: 'No space left on device' }, id: 'blockdev-reopen' });
    return true;
  } }`;
  await expect(runStreamJob(await job(full))).rejects.toThrow('No space left on device');
});

it('has failed when closing the image could not write it, whatever the exit code', async () => {
  const late = `{ quit: () => {
    process.stderr.write('Failed to flush the L2 block cache: No space left on device\\n', () => process.exit(0));
    return true;
  } }`;
  await expect(runStreamJob(await job(late))).rejects.toThrow('No space left on device');
});

it('is given up when not even killing it ends it', async () => {
  // What has its outputs open stands for a program that hangs in the kernel.
  const head = `import { spawn } from 'node:child_process';
    spawn('sleep', ['5'], { stdio: ['ignore', 'inherit', 'inherit'] });`;
  const stuck = await job("{ 'block-stream': () => true, 'blockdev-reopen': () => true }", head);
  const early = { ...stuck, signal: AbortSignal.timeout(500) };
  const began = performance.now();
  await expect(runStreamJob(early)).rejects.toMatchObject({ name: 'TimeoutError' });
  expect(performance.now() - began).toBeLessThan(4000);
});
