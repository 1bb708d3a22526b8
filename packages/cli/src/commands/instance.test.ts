import { describe, expect, it } from 'vitest';
import { anInstance, runWirt, type Script, startScriptedDaemon, startWirt } from '../scripted-daemon.ts';
import { anInstanceWithDisks, aRootVolume, aVolume } from '../scripted-records.ts';

const list: Script = () => ({ json: { items: [anInstance] } });
const changed = {
  revision: 9,
  at: 'x',
  change: 'changed',
  kind: 'instance',
  id: anInstance.id,
  name: 'demo',
  project: 'default',
};

describe('wirt ls', () => {
  it('shows a table, and asks for no more than it shows', async () => {
    await using daemon = await startScriptedDaemon({ 'GET /v1/instances': list });
    const { code, stdout, stderr } = await runWirt(['ls'], { daemon });
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toBe(
      'NAME  STATE    SINCE  IMAGE  CPUS  MEMORY  AGENT\ndemo  running  30 s   micro  2     2 GiB   yes\n',
    );
    expect(daemon.asked[0]?.query).toMatchObject({
      limit: '100',
      fields: expect.stringContaining('status.state') as string,
    });
  });

  it('passes every filter on, and gives programs whole records', async () => {
    await using daemon = await startScriptedDaemon({ 'GET /v1/instances': list });
    const filters = [
      '--state',
      'running',
      '--label',
      'a=b',
      '--image',
      'micro',
      '--name',
      'de',
      '--limit',
      '5',
    ];
    const { stdout } = await runWirt(['ls', ...filters, '-o', 'json'], { daemon });
    expect(JSON.parse(stdout)).toEqual([anInstance]);
    expect(daemon.asked[0]?.query).toEqual({
      state: 'running',
      label: 'a=b',
      image: 'micro',
      name: 'de',
      limit: '5',
    });
  });

  it('says when there is nothing, and what to do about it', async () => {
    await using daemon = await startScriptedDaemon({ 'GET /v1/instances': () => ({ json: { items: [] } }) });
    expect((await runWirt(['ls'], { daemon })).stdout).toContain('No instances. Create one: wirt run IMAGE');
    expect((await runWirt(['ls', '-o', 'name'], { daemon })).stdout).toBe('');
  });

  it('reads one page and says that there are more, or all of them when asked', async () => {
    const pages: Script = ({ query }) => ({
      json:
        query['cursor'] === undefined
          ? { items: [anInstance], next: 'c1' }
          : { items: [{ ...anInstance, name: 'last' }] },
    });
    await using daemon = await startScriptedDaemon({ 'GET /v1/instances': pages });
    const some = await runWirt(['ls', '-o', 'name', '--limit', '1'], { daemon });
    expect(some).toMatchObject({
      stdout: 'demo\n',
      stderr: 'There are more: --all lists all, --limit N more.\n',
    });
    const all = await runWirt(['ls', '-o', 'name', '--all'], { daemon });
    expect(all).toMatchObject({ stdout: 'demo\nlast\n', stderr: '' });
    expect(daemon.asked[1]?.query['limit']).toBe('1000');
  });

  it('with --watch prints the list again after a change, until Ctrl-C', async () => {
    let name = 'before';
    await using daemon = await startScriptedDaemon({
      'GET /v1/instances': () => ({ json: { items: [{ ...anInstance, name }] } }),
    });
    const running = startWirt(['ls', '--watch'], { daemon });
    await running.says('before');
    name = 'after';
    daemon.emit(changed);
    await running.says('after');
    running.interrupt();
    expect((await running.done).code).toBe(0);
    expect(daemon.lines.slice(0, 2)).toEqual(['GET /v1/events', 'GET /v1/instances']);
  });

  it('with --watch goes on when the connection was lost', async () => {
    let name = 'before';
    await using daemon = await startScriptedDaemon({
      'GET /v1/instances': () => ({ json: { items: [{ ...anInstance, name }] } }),
    });
    const running = startWirt(['ls', '-w', '-o', 'name'], { daemon });
    await running.says('before');
    name = 'after';
    daemon.cut();
    await running.says('wirtd is gone');
    await running.says('after');
    running.interrupt();
    expect((await running.done).code).toBe(0);
  });
});

describe('wirt show', () => {
  const shown = async (instance: object) => {
    await using daemon = await startScriptedDaemon({ 'GET /v1/instances/demo': () => ({ json: instance }) });
    return (await runWirt(['show', 'demo'], { daemon })).stdout;
  };

  it('shows spec, status, labels and what can be done in this state', async () => {
    const text = await shown({
      ...anInstance,
      status: {
        ...anInstance.status,
        accelerator: 'tcg',
        process: { pid: 42, startTicks: 1, uid: 7, gid: 7 },
      },
    });
    expect(text).toContain('running');
    expect(text).toContain('pid 42, uid 7, gid 7');
    expect(text).toMatch(/Memory +2 GiB/);
    expect(text).toMatch(/tier +web/);
    expect(text).toContain('wirt stop demo');
    expect(text).toContain('wirt console demo');
    expect(text).not.toContain('wirt start demo');
  });

  it('shows how a guest ended, with QEMU’s last line made harmless', async () => {
    const text = await shown({
      ...anInstance,
      status: {
        ...anInstance.status,
        state: 'crashed',
        agent: false,
        exit: {
          at: '2026-11-22T11:58:00Z',
          reason: 'error',
          code: 1,
          message: 'qemu: \x1b]0;owned\x07 no such cpu',
        },
      },
    });
    expect(text).toMatch(/Reason +error/);
    expect(text).toContain('qemu: \\x1b]0;owned\\x07 no such cpu');
    expect(text).not.toContain('\x1b');
    expect(text).toContain('wirt start demo');
    expect(text).toContain('(2 min ago)');
  });

  it('points at the operation while one is at it', async () => {
    const text = await shown({ ...anInstance, status: { ...anInstance.status, state: 'stopping' } });
    expect(text).toContain('wirt operation ls --target demo');
  });

  it('shows disks by the names of their volumes, media, addresses, SSH, the snapshot and cloud-init', async () => {
    const snapshot = '01KATESTTESTTESTTESTTESTS1';
    const instance = {
      ...anInstanceWithDisks,
      spec: {
        ...anInstanceWithDisks.spec,
        firmware: 'uefi',
        nics: [
          {
            ...{ name: 'nic0', slot: 0, network: 'default', mac: '52:54:00:00:00:01', ipv4: '10.80.0.10' },
            ...{ model: 'e1000e', securityGroups: ['default', 'web'], antiSpoofing: true },
            publish: [{ protocol: 'tcp', hostPort: 8080, guestPort: 80 }],
          },
        ],
        cloudInit: {
          hostname: 'demo',
          sshKeys: ['ssh-ed25519 AAAAC3Nz me@home', 'ssh-rsa AAAAB3NzaC1yc2E'],
          password: true,
          userData: false,
          networkConfig: false,
        },
      },
      status: { ...anInstanceWithDisks.status, snapshot, pauseReason: 'no-space', state: 'paused' },
    };
    await using daemon = await startScriptedDaemon({
      'GET /v1/instances/demo': () => ({ json: instance }),
      'GET /v1/volumes': () => ({ json: { items: [aRootVolume, aVolume] } }),
      [`GET /v1/instances/${anInstance.id}/snapshots/${snapshot}`]: () => ({ json: { name: 'before' } }),
    });
    const { stdout } = await runWirt(['show', 'demo'], { daemon });
    expect(stdout).toContain(
      [
        'Disks',
        '  NAME   BUS     BOOT  SIZE    HOLDS             ',
        '  root   virtio  1     10 GiB  volume demo-root  goes with the instance',
        '  disk1  virtio  -     10 GiB  volume data       read-only, stays when the instance goes',
        '  cdrom  sata    -     -       image netinst     CD drive',
      ]
        .map((line) => line.trimEnd())
        .join('\n'),
    );
    for (const line of [
      /Paused by QEMU +its pool is full; it goes on by itself/,
      /Addresses +10\.0\.2\.15/,
      /SSH +wirt ssh demo \(127\.9\.8\.7 port 20022\)/,
      /Snapshot +before/,
      /Firmware +uefi/,
      /nic0 +default +10\.80\.0\.10 +52:54:00:00:00:01 +default, web +8080:80\/tcp +e1000e/,
      /Metadata +tokens required, hop limit 1/,
      /SSH keys +ssh-ed25519 me@home, ssh-rsa …zaC1yc2E/,
      /Also +a password/,
      /detach +wirt volume detach demo\/DISK/,
      /medium +wirt media insert demo IMAGE/,
    ])
      expect(stdout).toMatch(line);
  });

  it('shows ids where names cannot be had', async () => {
    const text = await shown({
      ...anInstanceWithDisks,
      status: { ...anInstanceWithDisks.status, snapshot: '01KATESTTESTTESTTESTTESTS1' },
    });
    expect(text).toContain(`volume ${aVolume.id}`);
    expect(text).toMatch(/Snapshot +01KATESTTESTTESTTESTTESTS1/);
  });

  it('offers nothing that there is nothing for', async () => {
    const text = await shown({ ...anInstance, spec: { ...anInstance.spec, image: undefined } });
    expect(text).toMatch(/Image +none/);
    expect(text).toContain('wirt volume attach VOLUME demo');
    for (const line of [
      'wirt volume detach',
      'wirt media',
      'wirt snapshot',
      'wirt ssh',
      'cloud-init',
      'Disks',
    ])
      expect(text).not.toContain(line);
  });

  it('--isolation shows how the process is confined', async () => {
    const isolation = {
      pid: 42,
      uids: [7, 7, 7, 7],
      gids: [7, 7, 7, 7],
      groups: [],
      capabilities: { inheritable: [], permitted: [], effective: [], bounding: [], ambient: ['CAP_X'] },
      seccomp: 'filter',
      seccompFilters: 1,
      noNewPrivileges: true,
      selinuxLabel: null,
      cgroups: [{ hierarchy: 'memory', path: '/wirt/x', own: true }],
      namespaces: [{ name: 'mnt', id: 'mnt:[1]', shared: false }],
      openFiles: [{ fd: 3, target: '/x\ny' }],
    };
    await using daemon = await startScriptedDaemon({
      'GET /v1/instances/demo/isolation': () => ({ json: isolation }),
    });
    const { stdout } = await runWirt(['show', 'demo', '--isolation'], { daemon });
    for (const part of ['filter (1 filter)', 'SELinux is off', '/wirt/x', 'mnt:[1]', '/x\\ny', 'CAP_X'])
      expect(stdout).toContain(part);
    const asJson = await runWirt(['show', 'demo', '--isolation', '-o', 'json'], { daemon });
    expect(JSON.parse(asJson.stdout)).toEqual(isolation);
  });
});

describe('wirt rename', () => {
  it('asks for the new name', async () => {
    await using daemon = await startScriptedDaemon({
      'PATCH /v1/instances/demo': () => ({ json: { ...anInstance, name: 'web-1' } }),
    });
    const { code, stdout } = await runWirt(['rename', 'demo', 'web-1'], { daemon });
    expect([code, stdout]).toEqual([0, 'demo is now web-1\n']);
    expect(daemon.asked[0]?.json).toEqual({ name: 'web-1' });
  });
});
