// Real block devices, of files: what the kernel says of those that somebody has claimed or open.
import { execFileSync, spawn } from 'node:child_process';
import { constants, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, open, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
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

  it('are told free to all who ask at the same time, by one look that both share', async () => {
    const [one, other] = [await aDisk(), await aDisk()];
    const claims = createDiskClaims();
    const answers = await Promise.all([
      claims([one.block], signal()),
      claims([one.block], signal()),
      claims([one.block, other.block], signal()),
    ]);
    expect(answers.map((reasons) => [...reasons])).toEqual([[], [], []]);
  });

  it('are not taken for open where a look that hangs has them', async () => {
    const { path, block } = await aDisk();
    const program = fileURLToPath(new URL('./disk-probe.ts', import.meta.url));
    await using disk = await open(path, constants.O_RDONLY);
    const hanging = spawn(process.execPath, [program], { stdio: ['ignore', 'ignore', 'ignore', disk.fd] });
    hanging.kill('SIGSTOP');
    try {
      await disk.close();
      expect(existsSync(`/proc/${hanging.pid}/fd/3`)).toBe(true);
      expect([...(await createDiskClaims()([block], signal()))]).toEqual([]);
    } finally {
      hanging.kill('SIGKILL');
    }
  });

  it('that cannot be opened are not free', async () => {
    const gone = { name: 'no-such-disk', dev: '8:0', isPartition: false };
    expect([...(await createDiskClaims()([gone], signal()))]).toEqual([
      ['no-such-disk', 'could not be looked at: ENOENT'],
    ]);
  });
});

// A program in the probe's place: what it does cannot be had of real disks on demand.
describe('a look at disks', () => {
  const blocks = ['sda', 'sdb'].map((name, at) => ({ name, dev: `8:${at * 16}`, isPartition: false }));
  const partition = { name: 'sda1', dev: '8:1', isPartition: true };
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'wirt-claims-'));
  });
  afterEach(async () => {
    await rm(directory, { recursive: true });
  });

  function programOf(source: string): string {
    const file = join(directory, 'probe.mjs');
    const say = `const say = (said) => process.stdout.write(JSON.stringify(said) + '\\n');`;
    writeFileSync(file, `import { appendFileSync } from 'node:fs';\n${say}\n${source}`);
    return file;
  }
  const free = `for (const name of ['sda', 'sdb']) say({ name, claimed: false });`;
  const stays = 'setInterval(() => {}, 1000);';

  it.each([
    ['fails', `${free} say({ looked: true }); process.exitCode = 3;`, 'ended with exit status 3'],
    [
      'is killed',
      `${free} say({ looked: true }); process.kill(process.pid, 'SIGKILL');`,
      'ended with a signal',
    ],
    ['says nothing', '', 'did not come to its end'],
    ['leaves disks out', 'say({ looked: true });', 'did not tell of it'],
  ])('that %s says of no disk that it is free', async (_what, source, why) => {
    const reasons = await createDiskClaims({ program: programOf(source) })([...blocks, partition], signal());
    expect([...reasons]).toEqual(
      blocks.map(({ name }) => [name, expect.stringMatching(`^could not be looked at: .*${why}`)]),
    );
  });

  it('that has not read in time what programs have open says so, and does not call the disks hung', async () => {
    const claims = createDiskClaims({ program: programOf(`${free} ${stays}`), waitMs: 1_000 });
    const late = 'could not be looked at: what programs have open could not be read in time';
    for (const _ of [1, 2])
      expect([...(await claims(blocks, signal()))]).toEqual(blocks.map(({ name }) => [name, late]));
  });

  it('is one at a time, and goes on when who asked for it has gone', async () => {
    const log = join(directory, 'log');
    const starts = `appendFileSync(${JSON.stringify(log)}, 'x');`;
    const program = programOf(`${starts} say({ name: 'sdb', claimed: false }); ${stays}`);
    const claims = createDiskClaims({ program, waitMs: 1_500 });
    const gone = new AbortController();
    const first = claims(blocks, gone.signal);
    const second = claims(blocks, signal());
    gone.abort(new Error('enough'));
    await expect(first).rejects.toThrow('enough');
    const reasons = await second;
    expect(reasons.get('sda')).toBe('does not answer to being opened');
    expect(readFileSync(log, 'utf8')).toBe('x');
  });

  it('with which a disk hangs says so of it, and holds up nothing else', async () => {
    const program = programOf(`say({ name: 'sdb', claimed: true }); ${stays}`);
    const reasons = await createDiskClaims({ program, waitMs: 1_000 })(blocks, signal());
    expect(reasons.get('sda')).toBe('does not answer to being opened');
    expect(reasons.get('sdb')).toContain('is claimed');
  });
});
