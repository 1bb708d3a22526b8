// Real block devices, of files: what the kernel says of those that somebody has claimed or open.
import { execFileSync, spawn } from 'node:child_process';
import { constants, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, open, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createDiskClaims, type Probed } from './disk-claims.ts';

const signal = (): AbortSignal => AbortSignal.timeout(20_000);

function canLoop(): boolean {
  try {
    execFileSync('losetup', ['--find'], { stdio: 'ignore' });
    return process.getuid?.() === 0;
  } catch {
    return false;
  }
}

// Needs root, and loop devices.
describe.skipIf(!canLoop())('disks that nothing else speaks for', () => {
  let directory: string;
  const loops: string[] = [];

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'wirt-claims-'));
  });
  afterEach(async () => {
    for (const loop of loops.splice(0)) execFileSync('losetup', ['--detach', loop]);
    await rm(directory, { recursive: true });
  });

  async function aDisk(): Promise<{ readonly path: string; readonly block: Probed }> {
    const file = join(directory, `disk${loops.length}`);
    await writeFile(file, '');
    await truncate(file, 1024 * 1024);
    const path = execFileSync('losetup', ['--find', '--show', file], { encoding: 'utf8' }).trim();
    loops.push(path);
    const name = path.slice('/dev/'.length);
    const dev = readFileSync(`/sys/class/block/${name}/dev`, 'utf8').trim();
    return { path, block: { name, dev, isPartition: false } };
  }

  it('are free, claimed, or open in a program, and that is said of each', async () => {
    const [free, claimed, used] = [await aDisk(), await aDisk(), await aDisk()];
    await using claim = await open(claimed.path, constants.O_RDONLY | constants.O_EXCL);
    expect(claim.fd).toBeGreaterThan(0);
    const program = spawn('sh', ['-c', 'exec sleep 60 3<"$1"', 'sh', used.path], { stdio: 'ignore' });
    try {
      while (!existsSync(`/proc/${program.pid}/fd/3`)) await new Promise(setImmediate);
      const claims = createDiskClaims();
      const reasons = await claims([free.block, claimed.block, used.block], signal());
      expect([...reasons.keys()].toSorted()).toEqual([claimed.block.name, used.block.name].toSorted());
      expect(reasons.get(claimed.block.name)).toMatch(/^is open in \S+.* \(process \d+\)$/);
      expect(reasons.get(used.block.name)).toMatch(
        new RegExp(`^is open in (sleep|sh) \\(process ${program.pid}\\)$`),
      );
    } finally {
      program.kill('SIGKILL');
    }
  });

  it('are claimed by the kernel, which has no descriptor of them', async () => {
    const { path, block } = await aDisk();
    execFileSync('mkswap', [path], { stdio: 'ignore' });
    try {
      execFileSync('swapon', [path], { stdio: 'ignore' });
    } catch {
      return; // this machine takes no swap
    }
    try {
      expect([...(await createDiskClaims()([block], signal()))]).toEqual([
        [block.name, expect.stringContaining('is claimed by the kernel')],
      ]);
    } finally {
      execFileSync('swapoff', [path]);
    }
  });

  it('that hang are said to, hold up nothing else, and are asked again when the kernel is through', async () => {
    const file = join(directory, 'probe.mjs');
    writeFileSync(
      file,
      `console.log(JSON.stringify({ name: 'sdb', claimed: true })); setInterval(() => {}, 1000);`,
    );
    const claims = createDiskClaims({ program: file, waitMs: 1_000 });
    const blocks = ['sda', 'sdb'].map((name, at) => ({ name, dev: `8:${at * 16}`, isPartition: false }));
    const reasons = await claims(blocks, signal());
    expect(reasons.get('sda')).toBe('does not answer to being opened');
    expect(reasons.get('sdb')).toContain('is claimed');
  });
});
