// fio in a Debian guest: Wirt's disk beside QEMU started by hand with the best settings known, and beside what virt-install
// makes without being told more. All three guests run side by side, and take turns at each job.
import { execFile, spawn } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { agentExec } from '@wirt/qemu';
import { startDaemon, type TestDaemon } from '../functional/harness/daemon.ts';
import { bootedAgent, killed } from './by-hand.ts';
import { type Figure, median } from './measure.ts';

const run = promisify(execFile);
/** Random I/O scatters by a tenth from one to the next. */
const rounds = 7;
const dataBytes = 4 * 1024 ** 3;
const wait = { wait: 'done', waitSeconds: 1800 } as const;
const bootMs = 900_000;

/**
 * Direct in the guest, and written out at the end; the host's cache, in which virt-install's defaults keep a disk, is emptied before, and no byte is
 * read or written twice in one run: disks are compared, and not a disk with memory.
 */
const jobs = {
  'sequential read': ['--rw=read', '--bs=1M', '--iodepth=8'],
  'sequential write': ['--rw=write', '--bs=1M', '--iodepth=8', '--end_fsync=1'],
  'random read': ['--rw=randread', '--bs=4k', '--iodepth=32', '--runtime=5'],
  'random write': ['--rw=randwrite', '--bs=4k', '--iodepth=32', '--runtime=5', '--end_fsync=1'],
} as const;

interface Contender {
  readonly name: 'wirt' | 'best' | 'defaults';
  /** Runs a program in the guest and gives its standard output. */
  exec(argv: readonly string[]): Promise<string>;
}

export async function diskIo(): Promise<Figure[]> {
  const scratch = await mkdtemp(join(tmpdir(), 'wirt-fio-'));
  await using held = new AsyncDisposableStack();
  held.defer(() => rm(scratch, { recursive: true, force: true }));
  const daemon = held.use(await startDaemon({ image: 'debian-12' }));
  const { status } = await daemon.client.call('GET /v1/images/{image}', { params: { image: 'debian-12' } });
  const image = join(daemon.stateDirectory, 'images', `sha256-${status.sha256}`, status.file ?? '');
  const tools = await toolsDisk(scratch);
  const contenders = await Promise.all([
    wirtGuest(daemon, tools),
    handGuest(held, scratch, { name: 'best', image, tools, disk: bestDisk }),
    handGuest(held, scratch, { name: 'defaults', image, tools, disk: defaultDisk }),
  ]);
  for (const contender of contenders) {
    await contender.exec(['mount', '-o', 'ro', '/dev/disk/by-id/virtio-tools', '/mnt']);
    // What is read later is there, and not a hole.
    await measure(contender, 'sequential write');
  }
  return await compare(contenders);
}

/** A file system with fio and the libraries it needs, read by all guests. */
async function toolsDisk(scratch: string): Promise<string> {
  const folder = join(scratch, 'tools');
  await mkdir(join(folder, 'lib'), { recursive: true });
  const { stdout: fio } = await run('which', ['fio']);
  const { stdout: libraries } = await run('ldd', [fio.trim()]);
  await copyFile(fio.trim(), join(folder, 'fio'));
  for (const [, path = ''] of libraries.matchAll(/(\/\S+) \(0x/g))
    await copyFile(await realpath(path), join(folder, 'lib', basename(path)));
  const disk = join(scratch, 'tools.raw');
  await run('mke2fs', ['-q', '-t', 'ext4', '-d', folder, disk, '256M'], {
    env: { ...process.env, PATH: `${process.env['PATH']}:/sbin:/usr/sbin` },
  });
  return disk;
}

async function wirtGuest(daemon: TestDaemon, tools: string): Promise<Contender> {
  const { client } = daemon;
  await client.call('POST /v1/images/import', {
    body: { name: 'tools', path: tools, format: 'raw' },
    query: wait,
  });
  await client.call('POST /v1/volumes', {
    body: { name: 'tools', source: { kind: 'image', image: 'tools' } },
    query: wait,
  });
  const disks = [
    { device: 'disk', name: 'data', sizeBytes: dataBytes },
    { device: 'disk', name: 'tools', volume: 'tools', readOnly: true },
  ] as const;
  const spec = { image: 'debian-12', memoryMib: 512, disks: [...disks] };
  const query = { wait: 'ready', waitSeconds: bootMs / 1000 } as const;
  await client.call('POST /v1/instances', { body: { name: 'fio', start: true, spec }, query });
  return {
    name: 'wirt',
    exec: async (argv) => {
      const body = { argv: [...argv], timeoutSeconds: 120 };
      const answer = await client.call('POST /v1/instances/{instance}/exec', {
        params: { instance: 'fio' },
        body,
      });
      const text = Buffer.from(answer.stdout, 'base64').toString();
      if (answer.exitCode !== 0)
        throw new Error(`${argv[0]}: ${Buffer.from(answer.stderr, 'base64').toString()}`);
      return text;
    },
  };
}

/** The words of a disk, of which `path` is the file. */
type DiskWords = (id: string, path: string, readOnly: boolean) => string[];

const bestDisk: DiskWords = (id, path, readOnly) => [
  ...['-object', `iothread,id=io-${id}`],
  '-blockdev',
  `driver=qcow2,node-name=${id},discard=unmap,detect-zeroes=unmap,l2-cache-size=67108864,read-only=${readOnly ? 'on' : 'off'},` +
    `file.driver=file,file.filename=${path},file.aio=io_uring,file.discard=unmap,cache.direct=on,file.cache.direct=on`,
  ...['-device', `virtio-blk-pci,drive=${id},iothread=io-${id},num-queues=1,serial=${id}`],
];

/** As `virsh domxml-to-native qemu-argv` writes the disks of `virt-install --disk path=FILE` (virt-install 4.1, libvirt 9.0). */
const defaultDisk: DiskWords = (id, path, readOnly) => [
  '-blockdev',
  JSON.stringify({
    driver: 'file',
    filename: path,
    'node-name': `${id}-storage`,
    'auto-read-only': true,
    discard: 'unmap',
  }),
  '-blockdev',
  JSON.stringify({
    'node-name': id,
    'read-only': readOnly,
    discard: 'unmap',
    driver: 'qcow2',
    file: `${id}-storage`,
    backing: null,
  }),
  ...['-device', `virtio-blk-pci,drive=${id},serial=${id}`],
];

interface HandOptions {
  readonly name: 'best' | 'defaults';
  readonly image: string;
  readonly tools: string;
  readonly disk: DiskWords;
}

async function handGuest(
  held: AsyncDisposableStack,
  scratch: string,
  { name, image, tools, disk }: HandOptions,
): Promise<Contender> {
  const folder = join(scratch, name);
  await mkdir(folder);
  const files = {
    root: join(folder, 'root.qcow2'),
    data: join(folder, 'data.qcow2'),
    tools: join(folder, 'tools.qcow2'),
  };
  await run('qemu-img', ['convert', '-f', 'qcow2', '-O', 'qcow2', image, files.root]);
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', files.data, String(dataBytes)]);
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', tools, files.tools]);
  const agentPath = join(folder, 'agent.sock');
  const child = spawn(
    'qemu-system-x86_64',
    [
      ...['-machine', 'q35', '-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', '1', '-m', '512M'],
      ...['-nodefaults', '-no-user-config', '-display', 'none', '-serial', `file:${join(folder, 'console')}`],
      ...disk('root', files.root, false),
      ...disk('data', files.data, false),
      ...disk('tools', files.tools, true),
      ...['-chardev', `socket,id=agent,path=${agentPath},server=on,wait=off`, '-device', 'virtio-serial-pci'],
      ...['-device', 'virtserialport,chardev=agent,name=org.qemu.guest_agent.0'],
    ],
    { stdio: ['ignore', 'inherit', 'inherit'] },
  );
  held.defer(() => killed(child));
  const agent = await bootedAgent(agentPath, bootMs);
  held.defer(async () => agent.close());
  return {
    name,
    exec: async ([program = '', ...args]) => {
      const result = await agentExec(agent, { argv: [program, ...args], timeoutMs: 120_000 });
      if (result.exitCode !== 0) throw new Error(`${program}: ${result.stderr.toString()}`);
      return result.stdout.toString();
    },
  };
}

/** Bytes a second. */
async function measure({ exec }: Contender, job: keyof typeof jobs): Promise<number> {
  await run('sync', []);
  await writeFile('/proc/sys/vm/drop_caches', '3');
  const output = await exec([
    ...['/mnt/lib/ld-linux-x86-64.so.2', '--library-path', '/mnt/lib', '/mnt/fio'],
    ...['--name=job', '--filename=/dev/disk/by-id/virtio-data', '--direct=1', '--ioengine=libaio'],
    ...['--output-format=json', ...jobs[job]],
  ]);
  const [one] = (
    JSON.parse(output) as { jobs: { read: { bw_bytes: number }; write: { bw_bytes: number } }[] }
  ).jobs;
  return (one?.read.bw_bytes ?? 0) + (one?.write.bw_bytes ?? 0);
}

async function compare(contenders: readonly Contender[]): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const job of Object.keys(jobs) as (keyof typeof jobs)[]) {
    const all = new Map<Contender['name'], number[]>(contenders.map(({ name }) => [name, []]));
    for (let round = 0; round < rounds; round += 1)
      for (const contender of contenders) all.get(contender.name)?.push(await measure(contender, job));
    const of = (name: Contender['name']): number => median((all.get(name) ?? []).sort((a, b) => a - b));
    const [wirt, best, defaults] = [of('wirt'), of('best'), of('defaults')];
    const mib = (value: number): string => `${(value / 1024 ** 2).toFixed(1)} MiB/s`;
    figures.push({
      name: `fio in Debian, ${job}`,
      measured: `${mib(wirt)} (${(wirt / best).toFixed(2)} × best by hand, ${(wirt / defaults).toFixed(2)} × virt-install)`,
      promised: '≥ 0.97 ×, ≥ 1.2 ×',
      holds: wirt >= 0.97 * best && wirt >= 1.2 * defaults,
    });
  }
  return figures;
}
