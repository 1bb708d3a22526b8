// A real operating system, from its packages to `wirt ssh`: the image debian-12 is built, boots by its own boot loader under
// BIOS and UEFI, is set up by cloud-init, and its disks change under it. Two boots in all, side by side.
import { mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Image, Instance, Snapshot, Volume } from '@wirt/api';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TestDaemon } from './harness/daemon.ts';
import { bootSeconds, type Cli, cliOf, consoleSays, makeSshKey, type SshKey } from './harness/debian.ts';
import { type Networked, networked } from './harness/networked.ts';
import { mib, ownerOf, type Storage, storageOf } from './harness/storage.ts';
import { wirt } from './harness/wirt.ts';

const isPossible = process.arch === 'x64' && process.getuid?.() === 0;
const gib = 1024 * mib;
const password = 'correct horse 17';
const userData = `#cloud-config
write_files:
- path: /etc/wirt-test
  content: written by user-data
runcmd:
- [sh, -c, 'echo run at the end of $(hostname) >/root/last']
`;

let net: Networked;
let daemon: TestDaemon;
let storage: Storage;
let cli: Cli;
let folder: string;
let key: SshKey;
/** By name: what `wirt run --wait ready` printed, and what cloud-init said the moment it returned. */
const begun = new Map<string, { readonly printed: string; readonly cloudInit: string }>();

async function begin(name: string, args: readonly string[], input?: string): Promise<void> {
  const common = ['--memory', '512M', '--ssh-key', key.public, '--timeout', String(bootSeconds)];
  const line = ['run', 'debian-12', name, ...common, ...args, '--wait', 'ready'];
  const printed = await cli.wirt(line, input);
  begun.set(name, { printed, cloudInit: await cli.sh(name, 'cloud-init status') });
}

const instance = (name: string) => cli.record<Instance>('show', name);
const volume = (name: string) => cli.record<Volume>('volume', 'show', name);

async function argumentsOf(name: string): Promise<string[]> {
  const { status } = await instance(name);
  return (await readFile(`/proc/${status.process?.pid}/cmdline`, 'utf8')).split('\0');
}

/** Its file, which the guest writes. */
async function activeFile({ status }: Volume): Promise<string> {
  const path = (await storage.layerFiles()).find((each) => each.includes(status.active));
  if (path === undefined) throw new Error(`there is no file of layer ${status.active}`);
  return path;
}

async function rootOf(name: string): Promise<Volume> {
  const root = (await instance(name)).spec.disks.find((disk) => disk.name === 'root');
  return volume(root?.device === 'disk' ? root.volume : 'none');
}

describe.skipIf(!isPossible)('the image debian-12 (needs root, and amd64)', () => {
  beforeAll(async () => {
    folder = await realpath(await mkdtemp(join(tmpdir(), 'wirt-debian-')));
    net = await networked({ image: 'debian-12' });
    daemon = net.daemon;
    storage = storageOf(daemon);
    cli = cliOf(daemon.socket, net.network.inside.enter);
    key = await makeSshKey(join(folder, 'key'));
    await writeFile(join(folder, 'user-data'), userData);
    const web = ['--password', '--user-data', join(folder, 'user-data'), '--disk', '5G'];
    const efi = ['--firmware', 'uefi', '--cloud-init', 'metadata', '--user-data', join(folder, 'user-data')];
    await Promise.all([begin('web', web, `${password}\n`), begin('efi', efi)]);
  }, 45 * 60_000);

  afterAll(async () => {
    await net[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  it('is a disk that both kinds of firmware boot, with cloud-init in it', async () => {
    const { spec, status } = await cli.record<Image>('image', 'show', 'debian-12');
    expect(spec).toMatchObject({ recipe: 'debian-12', format: 'qcow2' });
    expect(status).toMatchObject({ state: 'ready', firmware: ['bios', 'uefi'], cloudInit: true });
    expect(status.sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(status.description).toMatch(/^Debian 12\.\d+, Linux \S+, cloud-init \S+, qemu-guest-agent \S+$/);
  });

  describe('`wirt run --wait ready`', () => {
    it.each(['web', 'efi'])(
      'returns for %s when cloud-init has finished, and says the way in',
      async (name) => {
        const { printed, cloudInit } = begun.get(name) ?? { printed: '', cloudInit: '' };
        expect(cloudInit).toBe('status: done');
        const { status } = await instance(name);
        const { host, port } = status.ssh ?? { host: '', port: 0 };
        expect(printed).toBe(
          `${name} is ready at ${status.addresses?.join(', ')}; \`wirt ssh ${name}\` (${host} port ${port})\n`,
        );
        expect(status.addresses).toContain(await net.address(name));
        expect([host, port]).toEqual([await net.address(name), 22]);
      },
    );

    it('has given the guest its name, its user-data and a root as large as its disk', async () => {
      expect(await cli.sh('web', 'hostname; cat /etc/wirt-test; echo; cat /root/last')).toBe(
        'web\nwritten by user-data\nrun at the end of web',
      );
      const sizes = await cli.sh('web', 'lsblk -bndo SIZE /dev/vda; df --output=size -B1 / | tail -n 1');
      const [disk, fileSystem] = sizes.split('\n').map(Number);
      expect(disk).toBe(5 * gib);
      expect(fileSystem).toBeGreaterThan(4.6 * gib);
    });

    it('sets a guest up by the metadata service, with cloud-init’s own EC2 datasource', async () => {
      const result = await cli.sh('efi', 'cat /run/cloud-init/result.json');
      expect(JSON.parse(result)).toMatchObject({ v1: { datasource: 'DataSourceEc2Local', errors: [] } });
      expect(await cli.sh('efi', 'hostname; cat /etc/wirt-test; echo; cat /root/last')).toBe(
        'efi\nwritten by user-data\nrun at the end of efi',
      );
      const keys = await cli.sh('efi', 'cat ~debian/.ssh/authorized_keys');
      expect(keys).toContain((await readFile(key.public, 'utf8')).trim());
      expect(await cli.wirt(['ssh', 'efi', '--identity', key.private, '--', 'hostname'])).toBe('efi\n');
    });

    it('tells metadata only to who has asked for a token, and each guest its own', async () => {
      const bash = (guest: string, ...lines: string[]) =>
        cli.sh(
          guest,
          `bash -c "$(cat)"`,
          `exec 3<>/dev/tcp/169.254.169.254/80; printf '%s\\r\\n' ${lines.map((line) => `'${line}'`).join(' ')} '' >&3; cat <&3`,
        );
      expect(await bash('web', 'GET /latest/meta-data/hostname HTTP/1.0')).toMatch(/^HTTP\/1\.1 401/);
      for (const guest of ['web', 'efi']) {
        const token = (
          await bash(guest, 'PUT /latest/api/token HTTP/1.0', 'X-aws-ec2-metadata-token-ttl-seconds: 60')
        )
          .split('\n')
          .at(-1);
        const header = `X-aws-ec2-metadata-token: ${token}`;
        expect(await bash(guest, 'GET /latest/meta-data/local-ipv4 HTTP/1.0', header)).toContain(
          await net.address(guest),
        );
        const other = guest === 'web' ? 'efi' : 'web';
        expect(await bash(other, 'GET /latest/meta-data/local-ipv4 HTTP/1.0', header)).toMatch(
          /^HTTP\/1\.1 401/,
        );
      }
    });

    it('has given the default user the password, of which only a hash has left the command', async () => {
      // The guest's own crypt(3) is asked.
      const script = `import crypt, spwd, sys
hash = spwd.getspnam('debian').sp_pwdp
print(hash[:3], crypt.crypt(sys.stdin.read(), hash) == hash)`;
      expect(await cli.sh('web', `python3 -W ignore -c "${script}"`, password)).toBe('$6$ True');
      expect(await cli.sh('efi', 'getent shadow debian | cut -d: -f2')).toMatch(/^[!*]+$/);
      const record = JSON.stringify(await instance('web'));
      const argv = (await argumentsOf('web')).join(' ');
      for (const text of [record, argv, JSON.stringify(daemon.log().lines)]) {
        expect(text).not.toContain(password);
        expect(text).not.toContain('$6$');
      }
    });

    it('lets `wirt ssh` in with the key, and only where the host key is the one that the agent tells', async () => {
      const ssh = ['ssh', 'web', '--identity', key.private, '--'];
      expect(await cli.wirt([...ssh, 'id -un; sudo -n id -un; hostname'])).toBe('debian\nroot\nweb\n');
      expect(
        await wirt(daemon.socket, [...ssh, 'exit 7'], '', 120_000, net.network.inside.enter),
      ).toMatchObject({ exitCode: 7 });
      const hostKey = '/etc/ssh/ssh_host_ed25519_key.pub';
      const others = (await readFile(key.public, 'utf8')).trim();
      await cli.sh('web', `mv ${hostKey} /root/kept; echo '${others}' >${hostKey}`);
      const refused = await wirt(daemon.socket, [...ssh, 'true'], '', 120_000, net.network.inside.enter);
      expect(refused).toMatchObject({ exitCode: 255, stdout: '' });
      expect(refused.stderr).toContain('Host key verification failed');
      await cli.sh('web', `mv /root/kept ${hostKey}`);
    });

    it.each(['web', 'efi'])('leaves a login on the serial console of %s', async (name) => {
      const logs = daemon.client.stream('GET /v1/instances/{instance}/logs', {
        params: { instance: name },
        query: { source: 'console', follow: 'true' },
      });
      expect(await consoleSays(logs, new RegExp(`^${name} login: `, 'm'), 120_000)).toContain(
        'Debian GNU/Linux 12',
      );
    });
  });

  it.each([
    ['web', 'BIOS', 'no'],
    ['efi', 'UEFI', 'yes'],
  ])('boots %s under %s by its own boot loader, on a linked clone', async (name, _, isEfi) => {
    const argv = await argumentsOf(name);
    expect(argv).toContain('-blockdev');
    for (const word of ['-kernel', '-initrd', '-append']) expect(argv).not.toContain(word);
    const script = 'cat /proc/cmdline; [ -d /sys/firmware/efi ] && echo yes || echo no';
    const [commandLine, firmware] = (await cli.sh(name, script)).split('\n');
    expect(commandLine).toMatch(/^BOOT_IMAGE=\/boot\/vmlinuz-\S+ root=UUID=/);
    expect(firmware).toBe(isEfi);
    const { id } = await cli.record<Image>('image', 'show', 'debian-12');
    const { spec, status } = await rootOf(name);
    expect(spec.origin).toEqual({ kind: 'image', image: id, mode: 'linked' });
    expect(status.layers.map(({ parent }) => parent)).toEqual([{ image: id }]);
  });

  it('keeps UEFI variables in a file of the guest’s own', async () => {
    const { id, status } = await instance('efi');
    expect(await readdir(join(daemon.stateDirectory, 'firmware'))).toEqual([id]);
    const file = join(daemon.stateDirectory, 'firmware', id, 'vars.fd');
    expect(await ownerOf(file)).toEqual({ uid: status.process?.uid, mode: '600' });
    const variable = '/sys/firmware/efi/efivars/WirtTest-6d9cb6a4-8f1c-4d6e-9d37-2f8d6a1f7c11';
    await cli.sh('efi', `printf '\\007\\000\\000\\000kept' >${variable}`);
    expect((await readFile(file)).includes(Buffer.from('WirtTest', 'utf16le'))).toBe(true);
  });

  /** One story: each test goes on where the one before it ended. */
  describe('a volume of a running Debian', () => {
    const device = '/dev/disk/by-id/virtio-data';
    const digest = 'sha256sum </mnt/written';
    let written: string;

    it('is attached, and holds a file system', async () => {
      await cli.wirt(['volume', 'create', 'data', '--size', '96M']);
      await cli.wirt(['volume', 'attach', 'data', 'web', '--name', 'data']);
      await cli.sh(
        'web',
        `udevadm wait --timeout=60 ${device}; mkfs.ext4 -q ${device}; mount ${device} /mnt`,
      );
      written = await cli.sh(
        'web',
        `dd if=/dev/urandom of=/mnt/written bs=1M count=8 status=none; ${digest}`,
      );
      // The guest comes by its group: only an owner could let others in.
      expect(await ownerOf(await activeFile(await volume('data')))).toEqual({ uid: 0, mode: '660' });
    });

    it('is in a snapshot with the root, for which the file systems were frozen', async () => {
      const taken = await cli.record<Snapshot>('snapshot', 'create', 'web', 'before', '--freeze', 'required');
      expect(taken.status).toMatchObject({
        state: 'ready',
        consistency: 'frozen',
        disks: [{ disk: 'root' }, { disk: 'data' }],
      });
      expect(await cli.sh('web', 'echo thawed | tee /root/thawed /mnt/thawed')).toBe('thawed');
    });

    it('grows, and the guest sees it', async () => {
      await cli.wirt(['volume', 'resize', 'data', '160M']);
      expect(await cli.sh('web', `lsblk -bndo SIZE ${device}`)).toBe(String(160 * mib));
      await cli.sh('web', `resize2fs ${device} 2>&1`);
      expect(Number(await cli.sh('web', 'df --output=size -BM /mnt | tail -n 1 | tr -d M'))).toBeGreaterThan(
        130,
      );
    });

    it('keeps what was written when the snapshot is merged away', async () => {
      await cli.wirt(['snapshot', 'rm', 'web', 'before']);
      expect((await volume('data')).status.layers).toHaveLength(1);
      expect((await rootOf('web')).status.layers).toHaveLength(1);
      await cli.sh('web', 'umount /mnt; echo 3 >/proc/sys/vm/drop_caches');
      expect(await cli.sh('web', `mount ${device} /mnt; ${digest}; cat /mnt/thawed`)).toBe(
        `${written}\nthawed`,
      );
    });

    it('is let go of by the guest, and by its QEMU', async () => {
      const file = await activeFile(await volume('data'));
      await cli.sh('web', 'umount /mnt');
      await cli.wirt(['volume', 'detach', 'data']);
      expect((await volume('data')).status.attachment).toBeUndefined();
      expect(await cli.sh('web', `udevadm settle; ls ${device} 2>&1 || true`)).toContain('No such file');
      expect(await ownerOf(file)).toEqual({ uid: process.getuid?.(), mode: '640' });
      await cli.wirt(['volume', 'rm', 'data']);
    });
  });

  it('powers off by its power button, and leaves disks that are whole', async () => {
    await cli.wirt(['stop', 'web', 'efi', '--acpi', '--grace', '170']);
    for (const name of ['web', 'efi']) {
      const { status } = await instance(name);
      expect(status).toMatchObject({ state: 'stopped', exit: { reason: 'stopped' } });
      expect(status.ready).not.toBe(true);
    }
    expect(await storage.damaged()).toEqual([]);
    expect(await storage.strays()).toEqual([]);
    expect(await daemon.remains()).toEqual([]);
  });
});
