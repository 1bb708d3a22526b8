// Builds the image from the distribution's packages and boots it in QEMU under software emulation.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { type TestImage, testImage, testWorkDirectory } from '../../platform/test-image.fixture.ts';
import { createMicroImageBuilder } from './image-micro.ts';

const bootTimeoutMs = 55_000;
const buildTimeoutMs = 5 * 60_000;
const missing = ['apt-get', 'dpkg-deb'].filter((tool) => spawnSync(tool, ['--version']).status !== 0);
const hasQemu = process.arch === 'x64' && spawnSync('qemu-system-x86_64', ['--version']).status === 0;

const workDirectory = testWorkDirectory('micro');
let built: TestImage<'kernel'>;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wirt-micro-'));
  if (missing.length > 0) return;
  built = await testImage({
    kind: 'kernel',
    name: 'micro',
    driver: import.meta.dirname,
    builder: createMicroImageBuilder({ workDirectory }),
    timeoutMs: buildTimeoutMs,
  });
}, buildTimeoutMs);

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe.skipIf(missing.length > 0)('building the image micro (needs apt and dpkg)', () => {
  afterEach(() => vi.unstubAllEnvs());

  it(
    'works without a network from what it has kept, says so, and gives the same bytes',
    async () => {
      // Port 9 is "discard"; nobody listens.
      for (const name of ['http_proxy', 'https_proxy']) vi.stubEnv(name, 'http://127.0.0.1:9');
      const target = await mkdtemp(join(folder, 'again-'));
      const stages = new Set<string>();
      const builder = createMicroImageBuilder({ workDirectory });
      const image = await builder.build(target, {
        signal: AbortSignal.timeout(buildTimeoutMs),
        onProgress: ({ stage }) => stages.add(stage),
      });
      expect(image).toEqual(built.image);
      for (const file of [image.kernel, image.initrd]) {
        const [again, first] = await Promise.all([
          readFile(join(target, file)),
          readFile(join(built.directory, file)),
        ]);
        expect(again.equals(first), file).toBe(true);
      }
      expect([...stages].join('\n')).toContain('package lists of an earlier build');
    },
    buildTimeoutMs,
  );

  it(
    'leaves nothing when it is cancelled half-way',
    async () => {
      const target = await mkdtemp(join(folder, 'cancelled-'));
      const controller = new AbortController();
      const builder = createMicroImageBuilder({ workDirectory });
      const build = builder.build(target, {
        signal: controller.signal,
        onProgress: ({ stage }) => {
          if (stage === 'choosing kernel modules') controller.abort('not wanted any more');
        },
      });
      await expect(build).rejects.toBe('not wanted any more');
      expect(await readdir(target)).toEqual([]);
      expect((await readdir(workDirectory)).filter((name) => name.startsWith('build-'))).toEqual([]);
    },
    buildTimeoutMs,
  );
});

describe.skipIf(missing.length > 0 || !hasQemu)('the guest (needs qemu-system-x86_64)', () => {
  it('gives a prompt under its name, answers through the agent, has an address, and powers off on ACPI', async () => {
    await using guest = await boot({ append: 'hostname=demo' });
    await guest.serialSays(/demo:~# /);
    await guest.agent('guest-ping');
    expect(await guest.agent('guest-get-host-name')).toEqual({ 'host-name': 'demo' });
    guest.type('until ip -4 addr show eth0 | grep inet; do usleep 50000; done\n');
    await guest.serialSays(/inet 10\.0\.2\.15/);
    guest.qmp('system_powerdown');
    expect(await guest.ended()).toEqual({ exitCode: 0, signal: null });
  });

  it('has a shell with job control that comes back after exit, and an agent that comes back when killed', async () => {
    await using guest = await boot({});
    await guest.serialSays(/micro:~# /);
    guest.type('sleep 1000 &\njobs; kill %1; exit\n');
    await guest.serialSays(/\[1\]\+\s+Running\s+sleep 1000[^]*BusyBox[^]*micro:~# /);
    expect(guest.serial()).not.toContain('job control turned off');
    await guest.agent('guest-ping');
    guest.type('killall qemu-ga; echo "killed $?"\n');
    await guest.serialSays(/killed 0/);
    await guest.agent('guest-ping');
  });

  it('reboots when its shell says so', async () => {
    await using guest = await boot({});
    await guest.serialSays(/micro:~# /);
    guest.type('reboot\n');
    await guest.serialSays(/micro:~# [^]*BusyBox[^]*micro:~# /);
    await guest.agent('guest-ping');
    guest.qmp('system_powerdown');
    expect(await guest.ended()).toEqual({ exitCode: 0, signal: null });
  });

  it('powers off when the agent says so, and takes its name from DHCP when it has no other', async () => {
    await using guest = await boot({ netdev: ',hostname=fromdhcp' });
    await guest.serialSays(/:~# /);
    guest.type('until [ "$(hostname)" = fromdhcp ]; do usleep 50000; done\n');
    await guest.serialSays(/fromdhcp:~# /);
    await guest.agent('guest-ping');
    guest.agentOneWay('guest-shutdown');
    expect(await guest.ended()).toEqual({ exitCode: 0, signal: null });
  });

  it('sees a virtio disk, and a CD once the drivers for SCSI are asked for', async () => {
    const media = ['disk', 'cd'].map((name) => join(folder, name));
    for (const path of media) await writeFile(path, Buffer.alloc(1024 * 1024));
    await using guest = await boot({ disk: media[0], cd: media[1] });
    await guest.serialSays(/micro:~# /);
    guest.type('cat /sys/class/block/vda/size; modprobe -a virtio_scsi sr_mod isofs && echo "loaded $?"\n');
    await guest.serialSays(/^2048\s[^]*loaded 0/m);
    guest.type('until [ -e /dev/sr0 ]; do usleep 50000; done; echo "CD $(cat /sys/class/block/sr0/size)"\n');
    await guest.serialSays(/CD 2048/);
  });

  it('boots without a network card and without an agent channel, in 96 MiB', async () => {
    await using guest = await boot({ memoryMib: 96, bare: true });
    await guest.serialSays(/micro:~# /);
    guest.type('poweroff\n');
    expect(await guest.ended()).toEqual({ exitCode: 0, signal: null });
  });
});

interface Guest extends AsyncDisposable {
  serial(): string;
  serialSays(pattern: RegExp): Promise<void>;
  type(text: string): void;
  qmp(command: string): void;
  /** Asks until the agent answers, and gives the answer. */
  agent(command: string): Promise<unknown>;
  agentOneWay(command: string): void;
  ended(): Promise<{ exitCode: number | null; signal: string | null }>;
}

async function boot(options: {
  append?: string;
  memoryMib?: number;
  netdev?: string;
  bare?: boolean;
  disk?: string | undefined;
  cd?: string | undefined;
}): Promise<Guest> {
  const run = await mkdtemp(join(folder, 'run-'));
  const sockets = { qmp: join(run, 'qmp'), agent: join(run, 'agent') };
  const signal = AbortSignal.timeout(bootTimeoutMs);
  const child = spawn('qemu-system-x86_64', qemuArguments(options, sockets), {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit', { signal }).then(([exitCode, how]) => ({ exitCode, signal: how }));
  // Not everybody asks how it ended.
  ended.catch(() => undefined);
  const serial = watchText(child, signal);
  const qmp = await open(sockets.qmp, signal);
  qmp.write('{"execute":"qmp_capabilities"}\n');
  const agent = options.bare === true ? undefined : await open(sockets.agent, signal);

  return {
    serial: serial.text,
    serialSays: serial.says,
    type: (text) => void child.stdin.write(text),
    qmp: (command) => void qmp.write(`${JSON.stringify({ execute: command })}\n`),
    agent: async (command) => {
      if (agent === undefined) throw new Error('This guest has no agent.');
      return await askAgent(agent, command, signal);
    },
    agentOneWay: (command) => void agent?.write(`${JSON.stringify({ execute: command })}\n`),
    ended: async () => await ended,
    async [Symbol.asyncDispose]() {
      qmp.destroy();
      agent?.destroy();
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGKILL');
        await once(child, 'exit');
      }
    },
  };
}

function qemuArguments(
  options: Parameters<typeof boot>[0],
  sockets: { readonly qmp: string; readonly agent: string },
): string[] {
  const { image, directory } = built;
  const devices = [
    ...['-netdev', `user,id=net0${options.netdev ?? ''}`, '-device', 'virtio-net-pci,netdev=net0,romfile='],
    ...[
      '-chardev',
      `socket,id=agent0,path=${sockets.agent},server=on,wait=off`,
      '-device',
      'virtio-serial-pci',
    ],
    ...['-device', 'virtserialport,chardev=agent0,name=org.qemu.guest_agent.0', '-device', 'virtio-rng-pci'],
  ];
  return [
    ...['-machine', 'q35', '-accel', 'tcg', '-cpu', 'max', '-m', String(options.memoryMib ?? 128)],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-serial', 'stdio'],
    ...['-qmp', `unix:${sockets.qmp},server=on,wait=off`],
    ...['-kernel', join(directory, image.kernel), '-initrd', join(directory, image.initrd)],
    ...['-append', `${image.kernelArgs} ${options.append ?? ''}`],
    ...(options.bare === true ? [] : devices),
    ...(options.disk === undefined ? [] : ['-drive', `file=${options.disk},format=raw,if=virtio`]),
    ...(options.cd === undefined
      ? []
      : ['-device', 'virtio-scsi-pci', '-device', 'scsi-cd,drive=cd0'].concat([
          '-drive',
          `id=cd0,file=${options.cd},format=raw,if=none,media=cdrom`,
        ])),
  ];
}

function watchText(child: ChildProcess, signal: AbortSignal) {
  let text = '';
  const watchers = new Set<() => void>();
  child.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
    for (const watcher of watchers) watcher();
  });
  return {
    text: () => text,
    says: async (pattern: RegExp): Promise<void> => {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const look = (): void => {
        if (pattern.test(text)) resolve();
      };
      const giveUp = (): void =>
        reject(new Error(`The console never said ${pattern}. It said:\n${text.slice(-2_000)}`));
      watchers.add(look);
      signal.addEventListener('abort', giveUp, { once: true });
      look();
      await promise.finally(() => {
        watchers.delete(look);
        signal.removeEventListener('abort', giveUp);
      });
    },
  };
}

/** QEMU makes its sockets a moment after its start. */
async function open(path: string, signal: AbortSignal): Promise<Socket> {
  for (;;) {
    signal.throwIfAborted();
    const socket = connect(path);
    const failure = await once(socket, 'connect', { signal }).then(
      () => undefined,
      (error: unknown) => error ?? true,
    );
    if (failure === undefined) return socket.on('error', () => undefined);
    socket.destroy();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

let lastSync = 0;

/** A sync in front, because answers to earlier questions may still come; asked again, for an agent that starts anew. */
async function askAgent(socket: Socket, command: string, signal: AbortSignal): Promise<unknown> {
  lastSync += 1;
  const sync = lastSync;
  const ask = (): void => {
    socket.write(`${JSON.stringify({ execute: 'guest-sync', arguments: { id: sync } })}\n`);
  };
  const repeat = setInterval(ask, 500);
  const lines = createInterface({ input: socket, crlfDelay: Number.POSITIVE_INFINITY, signal });
  try {
    ask();
    let inSync = false;
    for await (const line of lines) {
      const answer: { return?: unknown; error?: { desc: string } } = JSON.parse(line);
      if (answer.return === sync) {
        clearInterval(repeat);
        if (!inSync) socket.write(`${JSON.stringify({ execute: command })}\n`);
        inSync = true;
      } else if (inSync) {
        if (answer.error !== undefined) throw new Error(answer.error.desc);
        return answer.return;
      }
    }
    throw new Error(`The agent never answered ${command}.`);
  } finally {
    clearInterval(repeat);
    lines.close();
    socket.resume();
  }
}
