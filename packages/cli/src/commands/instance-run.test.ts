import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  anInstance,
  doneOperation,
  type RunOptions,
  runWirt,
  startScriptedDaemon,
} from '../scripted-daemon.ts';
import { aDiskImage, anImage, anInstanceWithDisks } from '../scripted-records.ts';

const gib = 1024 ** 3;
const key = `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI${'a1+/'.repeat(10)} me@home`;

interface Answers extends RunOptions {
  readonly instance?: object;
}

async function ranWith({ instance = anInstance, ...options }: Answers, ...argv: string[]) {
  await using daemon = await startScriptedDaemon({
    'POST /v1/instances': () => ({ status: 202, json: doneOperation }),
    [`GET /v1/instances/${anInstance.id}`]: () => ({ json: instance }),
    'GET /v1/images/micro': () => ({ json: anImage }),
    'GET /v1/images/debian-12': () => ({ json: aDiskImage }),
    'GET /v1/images/imported': () => ({
      json: { ...aDiskImage, name: 'imported', status: { state: 'ready' } },
    }),
  });
  const result = await runWirt(['run', ...argv], { daemon, ...options });
  const asked = daemon.asked.find(({ method }) => method === 'POST');
  const { spec } = (asked?.json ?? {}) as { spec?: Record<string, unknown> };
  return { ...result, asked, spec, lines: daemon.lines };
}

const ran = (...argv: string[]) => ranWith({}, ...argv);
const plain = { autostart: false, overcommit: false };

describe('wirt run', () => {
  it('leaves to the contract what was not said', async () => {
    const { code, stdout, asked } = await ran('micro');
    expect([code, stdout]).toEqual([0, 'demo is running\n']);
    expect(asked?.json).toEqual({
      labels: {},
      spec: { image: 'micro', ...plain },
      start: true,
      startPaused: false,
    });
    expect(asked?.headers['idempotency-key']).toBeDefined();
  });

  it('passes on everything that was said', async () => {
    const { code, asked } = await ran(
      ...['micro', 'web-1', '--cpus', '4', '--memory', '1.5G', '--label', 'tier=web', '-l', 'a.b/c=x=y'],
      ...['--restart', 'on-failure', '--autostart', '--overcommit', '--machine', 'microvm', '--accel', 'tcg'],
      ...['--cpu', 'max', '--network', 'none', '--paused', '--firmware', 'uefi'],
    );
    expect(code).toBe(0);
    expect(asked?.json).toEqual({
      name: 'web-1',
      labels: { tier: 'web', 'a.b/c': 'x=y' },
      spec: {
        image: 'micro',
        cpus: 4,
        memoryMib: 1536,
        restart: 'on-failure',
        machine: 'microvm',
        accelerator: 'tcg',
        cpuModel: 'max',
        nics: [],
        firmware: 'uefi',
        autostart: true,
        overcommit: true,
      },
      start: true,
      startPaused: true,
    });
  });

  it('prints the record, or the operation when it does not wait', async () => {
    expect(JSON.parse((await ran('micro', '-o', 'json')).stdout)).toEqual(anInstance);
    const left = await ran('micro', '--wait', 'none', '-o', 'json');
    expect(JSON.parse(left.stdout)).toEqual(doneOperation);
    expect(left.lines).toEqual(['GET /v1/images/micro', 'POST /v1/instances']);
    expect((await ran('micro', '-o', 'name', '--wait', 'ready')).stdout).toBe('demo\n');
  });

  it('--wait ready prints the address, and the way in', async () => {
    const argv = ['debian-12', '--wait', 'ready', '--memory', '1G'];
    const { stdout, stderr } = await ranWith({ instance: anInstanceWithDisks }, ...argv);
    expect(stdout).toBe('demo is ready at 10.0.2.15; `wirt ssh demo` (127.9.8.7 port 20022)\n');
    expect(stderr).toBe('');
  });

  it.each([
    [['micro', '--network', 'none', '--network', 'lan'], '--network none excludes every other --network.'],
    [
      ['micro', '--network', 'none', '--nic-model', 'e1000'],
      '--network none and --nic-model exclude each other.',
    ],
    [['micro', '--network', 'none', '-p', '8080:80'], '--network none and --publish exclude each other.'],
    [
      ['micro', '--cloud-init', 'metadata', '--password'],
      '--cloud-init metadata and --password exclude each other.',
    ],
    [
      ['micro', '--cloud-init', 'metadata', '--no-metadata'],
      '--cloud-init metadata and --no-metadata exclude each other.',
    ],
    [['micro', '--cloud-init', 'metadata', '--network', 'none'], '--cloud-init metadata needs a network.'],
    [['micro', '--group', 'none', '-g', 'web'], '--group none excludes every other --group.'],
    [['micro', '--ip', '10.0.0.1', '--ip', '10.0.0.2'], '--ip takes one IPv4 and one IPv6 address at most.'],
    [['micro', '--publish', '80'], '--publish needs both ports, of the host and of the guest: 80:80.'],
    [['micro', '--publish', '8080:0'], '--publish has ports from 1 to 65535, and "8080:0" has 0.'],
    [
      ['micro', '--no-metadata', '--metadata-tokens', 'optional'],
      '--no-metadata excludes --metadata-tokens and --metadata-hop-limit.',
    ],
    [['micro', '--paused', '--wait', 'ready'], 'A paused guest does not get ready'],
    [['micro', '--cpus', '0'], '--cpus must be from 1 to 4096, and is 0.'],
    [['micro', '--memory', '2GB'], '--memory counts in powers of 1024: write 2G or 2GiB.'],
    [['micro', 'a', '--name', 'b'], 'The instance has two names'],
    [[], 'wirt run needs an image, or something else to boot from.'],
    [['--new-disk', '1G'], 'wirt run needs an image, or something else to boot from.'],
    [['--disk', '1G', '--full'], '--full copies the disk of an image, and there is none.'],
    [['debian-12', '--volume', 'data:rx'], '--volume takes NAME or NAME:ro, and not "data:rx".'],
    [['debian-12', '--disk', '20'], '--disk needs a unit: 20M or 20G.'],
  ])('refuses %j before anything is asked', async (argv, reason) => {
    const { code, stderr, lines } = await ran(...argv);
    expect(code).toBe(2);
    expect(stderr).toContain(reason);
    expect(lines).toEqual([]);
  });
});

describe('the network cards of wirt run', () => {
  it('have addresses and published ports on the first, groups and models on all', async () => {
    const { spec } = await ran(
      ...['imported', '--network', 'lan', '--network', 'back', '--ip', '10.80.0.9', '--ip', 'fd12::9'],
      ...['--group', 'default', '-g', 'web', '--nic-model', 'e1000'],
      ...['-p', '8080:80', '--publish', '[::1]:5353:53/udp'],
    );
    const all = { securityGroups: ['default', 'web'], model: 'e1000' };
    expect(spec).toEqual({
      image: 'imported',
      nics: [
        {
          ...{ network: 'lan', ipv4: '10.80.0.9', ipv6: 'fd12::9', ...all },
          publish: [
            { protocol: 'tcp', hostPort: 8080, guestPort: 80 },
            { protocol: 'udp', hostAddress: '::1', hostPort: 5353, guestPort: 53 },
          ],
        },
        { network: 'back', ...all },
      ],
      ...plain,
    });
  });

  it('are on the default network where only ports or groups were said', async () => {
    expect((await ran('imported', '-p', '127.0.0.1:2222:22')).spec).toMatchObject({
      nics: [
        {
          network: 'default',
          publish: [{ protocol: 'tcp', hostAddress: '127.0.0.1', hostPort: 2222, guestPort: 22 }],
        },
      ],
    });
    expect((await ran('imported', '--group', 'none')).spec).toMatchObject({
      nics: [{ network: 'default', securityGroups: [] }],
    });
  });

  it('are told of by a metadata service as it was asked for', async () => {
    const asked = ['--metadata-tokens', 'optional', '--metadata-hop-limit', '2'];
    expect((await ran('imported', ...asked)).spec).toMatchObject({
      metadata: { tokens: 'optional', hopLimit: 2 },
    });
    expect((await ran('imported', '--no-metadata')).spec).toMatchObject({ metadata: { enabled: false } });
  });
});

describe('the disks of wirt run', () => {
  it('are a copy of the image’s, of the size, pool, bus and kind that were asked for', async () => {
    const { spec } = await ran(
      ...['imported', '--disk', '20G', '--pool', 'fast', '--disk-bus', 'sata', '--full'],
      ...['--nic-model', 'e1000'],
    );
    expect(spec).toEqual({
      image: 'imported',
      rootDisk: { pool: 'fast', bus: 'sata', sizeBytes: 20 * gib, mode: 'full' },
      nics: [{ network: 'default', model: 'e1000' }],
      ...plain,
    });
  });

  it('are further ones too: volumes that are there, empty ones, and CD drives behind the image', async () => {
    const { spec } = await ran(
      ...['imported', '--volume', 'data', '--volume', 'logs:ro', '--new-disk', '1G'],
      ...['--cdrom', 'tools', '--cdrom', 'none'],
    );
    expect(spec?.['disks']).toEqual([
      { device: 'disk', name: 'disk1', volume: 'data' },
      { device: 'disk', name: 'disk2', volume: 'logs', readOnly: true },
      { device: 'disk', name: 'disk3', sizeBytes: gib },
      { device: 'cdrom', name: 'cdrom', image: 'tools', bootOrder: 2 },
      { device: 'cdrom', name: 'cdrom2', bootOrder: 3 },
    ]);
    expect(spec?.['rootDisk']).toBeUndefined();
  });

  it('are booted from after the medium where there is no image', async () => {
    const { asked, lines } = await ran(
      ...['--name', 'fresh', '--cdrom', 'netinst', '--disk', '20G', '--pool', 'fast', '--firmware', 'uefi'],
    );
    expect(lines[0]).toBe('POST /v1/instances');
    expect(asked?.json).toEqual({
      name: 'fresh',
      labels: {},
      spec: {
        disks: [
          { device: 'disk', name: 'root', pool: 'fast', sizeBytes: 20 * gib, bootOrder: 1 },
          { device: 'cdrom', name: 'cdrom', image: 'netinst', bootOrder: 2 },
        ],
        firmware: 'uefi',
        ...plain,
      },
      start: true,
      startPaused: false,
    });
  });

  it('are booted from by the first volume where there is nothing else', async () => {
    expect((await ran('--volume', 'a', '--volume', 'b')).spec?.['disks']).toEqual([
      { device: 'disk', name: 'disk1', volume: 'a', bootOrder: 1 },
      { device: 'disk', name: 'disk2', volume: 'b' },
    ]);
  });

  it('of a kernel are only further ones', async () => {
    expect((await ran('micro', '--new-disk', '1G', '--pool', 'fast')).spec).toEqual({
      image: 'micro',
      disks: [{ device: 'disk', name: 'disk1', sizeBytes: gib, pool: 'fast' }],
      ...plain,
    });
    const { code, stderr, lines } = await ran('micro', '--disk', '1G');
    expect([code, lines]).toEqual([2, ['GET /v1/images/micro']]);
    expect(stderr).toContain('--new-disk SIZE');
  });
});

describe('what wirt run tells cloud-init', () => {
  let home: string;
  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'wirt-run-'));
    await mkdir(join(home, '.ssh'));
    await writeFile(join(home, '.ssh/id_ed25519.pub'), `${key}\n`);
    await writeFile(join(home, 'two.pub'), `# mine\n${key}\n\nssh-rsa AAAAB3NzaC1yc2E b\n`);
    await writeFile(join(home, 'id'), '-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n');
    await writeFile(join(home, 'user-data'), '#cloud-config\npackages: [curl]\n');
    await writeFile(join(home, 'network'), 'version: 2\n');
    await writeFile(join(home, 'binary'), Buffer.from([0xff, 0xfe]));
    await writeFile(join(home, 'large'), 'x'.repeat(1_048_577));
  });
  afterEach(() => rm(home, { recursive: true }));
  const atHome = (...argv: string[]) => ranWith({ env: { HOME: home } }, ...argv, '-m', '1G');

  it('is the user’s own key, so that wirt ssh works without having asked for anything', async () => {
    expect((await atHome('debian-12')).spec?.['cloudInit']).toEqual({ sshKeys: [key] });
    expect((await atHome('debian-12', '--no-ssh-key')).spec?.['cloudInit']).toEqual({});
    const byNetwork = await atHome('imported', '--no-ssh-key', '--cloud-init', 'metadata');
    expect(byNetwork.spec?.['cloudInit']).toEqual({ datasource: 'metadata' });
  });

  it('is nothing where nothing was asked, and the image is not known to listen', async () => {
    expect((await atHome('imported')).spec?.['cloudInit']).toBeUndefined();
    expect((await atHome('micro')).spec?.['cloudInit']).toBeUndefined();
    expect((await atHome('imported', '--hostname', 'h')).spec?.['cloudInit']).toEqual({
      hostname: 'h',
      sshKeys: [key],
    });
  });

  it('is what the files say, and the keys in them or on the command line', async () => {
    const { spec } = await atHome(
      ...['debian-12', '--user-data', join(home, 'user-data'), '--network-config', join(home, 'network')],
      ...['--ssh-key', join(home, 'two.pub'), '--ssh-key', 'ssh-ed25519 AAAAC3Nz c', '--user', 'ada'],
    );
    expect(spec?.['cloudInit']).toEqual({
      user: 'ada',
      sshKeys: [key, 'ssh-rsa AAAAB3NzaC1yc2E b', 'ssh-ed25519 AAAAC3Nz c'],
      userData: '#cloud-config\npackages: [curl]\n',
      networkConfig: 'version: 2\n',
    });
  });

  it('has a password as its hash only', async () => {
    const { spec, asked } = await ranWith(
      { input: 'correct horse\n' },
      'debian-12',
      '-m',
      '1G',
      '--password',
    );
    expect(spec?.['cloudInit']).toEqual({
      passwordHash: expect.stringMatching(/^\$6\$rounds=\d+\$/) as string,
    });
    expect(JSON.stringify(asked?.json)).not.toContain('correct');
  });

  it.each([
    [['--ssh-key', '{home}/id'], '/id is a private key, which must not leave you.', '/id.pub'],
    [['--ssh-key=-----BEGIN RSA PRIVATE KEY-----\nsecret'], '--ssh-key is a private key', '.pub'],
    [['--ssh-key', '{home}/network'], 'has no OpenSSH public key', 'TYPE BASE64'],
    [['--ssh-key', '{home}/none'], '/none cannot be read.', 'ENOENT'],
    [['--ssh-key', 'ssh-rsa AAAA b', '--no-ssh-key'], 'exclude each other', 'See'],
    [['--user-data', '{home}/binary'], '/binary is not UTF-8 text.', ''],
    [['--user-data', '{home}/large'], '/large is larger than the 1048576 bytes', 'See'],
    [['--user-data', '{home}'], ' cannot be read.', 'EISDIR'],
  ])('is refused for %j, and no secret is shown', async (argv, reason, hint) => {
    const { code, stderr, asked } = await atHome(
      'debian-12',
      ...argv.map((word) => word.replace('{home}', home)),
    );
    expect([code, asked]).toEqual([2, undefined]);
    expect(stderr).toContain(reason);
    expect(stderr).toContain(hint);
    expect(stderr).not.toContain('secret');
  });

  it('is refused for a kernel, which has nobody to listen', async () => {
    const { code, stderr } = await atHome('micro', '--hostname', 'h');
    expect(code).toBe(2);
    expect(stderr).toContain('Image micro is a kernel without cloud-init');
  });
});
