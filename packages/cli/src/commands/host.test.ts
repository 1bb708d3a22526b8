import { describe, expect, it } from 'vitest';
import { runWirt, startScriptedDaemon } from '../scripted-daemon.ts';
import { version } from '../version.ts';

const host = {
  hostname: 'tester',
  kernel: '6.1.0',
  architecture: 'x86_64',
  distribution: 'Debian 12',
  bootId: 'x',
  cpu: { model: 'Some CPU', sockets: 1, cores: 2, threads: 2, virtualization: 'none' },
  numa: [
    { node: 0, cpus: '0', memoryMib: 1024, freeMib: 512 },
    { node: 1, cpus: '1', memoryMib: 1024, freeMib: 512 },
  ],
  memory: { totalMib: 2048, availableMib: 1024, swapTotalMib: 0 },
  hugePages: [{ sizeKib: 2048, total: 0, free: 0 }],
  kvm: { device: true, opens: true, usable: false, why: 'the processor offers no vmx' },
  accelerator: 'tcg',
  qemu: {
    binary: '/usr/bin/q',
    version: '7.2.0',
    machines: ['q35'],
    maxCpus: { q35: 288 },
    features: { io_uring: true, passt: false },
  },
  cgroup: { version: 'hybrid', controllers: [{ name: 'memory', version: 'v1' }] },
  security: { selinux: 'off', apparmor: false, privileged: true },
  iommu: { enabled: false, groups: 0 },
  sriovDevices: [{ address: '0000:01:00.0', vendorDevice: '8086:1521', sriovTotalVfs: 7, sriovNumVfs: 2 }],
  ioUring: true,
  vhostNet: false,
  vsock: false,
  ksm: false,
  thp: 'madvise',
};
const findings = [
  { id: 'io', title: 'io_uring', level: 'ok', found: 'available', why: 'fast' },
  {
    id: 'thp',
    title: 'Huge pages',
    level: 'better',
    found: 'none',
    why: 'Fewer TLB misses.',
    fix: 'echo 1 > /a\necho 2 > /b',
  },
  { id: 'kvm', title: 'KVM', level: 'missing', found: 'no vmx', why: 'Guests are slow.' },
];
const version1 = { version: '0.1.0', api: 'v1', node: 'v24', pid: 7, stateDirectory: '/var/lib/wirt' };

describe('wirt host', () => {
  it('shows the machine', async () => {
    await using daemon = await startScriptedDaemon({ 'GET /v1/host': () => ({ json: host }) });
    const { code, stdout } = await runWirt(['host'], { daemon });
    expect(code).toBe(0);
    for (const part of [
      'tester',
      'not usable: the processor offers no vmx',
      'q35 (288 CPUs)',
      'memory (v1)',
      '2 of 7',
    ])
      expect(stdout).toContain(part);
    expect(stdout).toMatch(/Without +passt/);
    expect(stdout).toMatch(/Huge pages of 2 MiB +0, 0 free/);
  });

  it('shows it without QEMU too', async () => {
    const { qemu: _, ...bare } = host;
    await using daemon = await startScriptedDaemon({ 'GET /v1/host': () => ({ json: bare }) });
    expect((await runWirt(['host'], { daemon })).stdout).toMatch(/QEMU +not found/);
  });

  it('shows how much may be promised, where the daemon tells it', async () => {
    const settings = { cpuOvercommit: 4, memoryOvercommit: 1.2, poolOvercommit: 20 };
    await using daemon = await startScriptedDaemon({
      'GET /v1/host': () => ({ json: host }),
      'GET /v1/host/settings': () => ({ json: settings }),
    });
    const { stdout } = await runWirt(['host'], { daemon });
    expect(stdout).toMatch(/May be promised +vCPUs × 4, memory × 1\.2, pools × 20 \(wirt host capacity\)\n/);
    expect(JSON.parse((await runWirt(['host', '-o', 'json'], { daemon })).stdout)).toEqual(host);
  });

  it('check prints the worst first, with why and the command that mends it', async () => {
    await using daemon = await startScriptedDaemon({ 'GET /v1/host/check': () => ({ json: { findings } }) });
    const { code, stdout } = await runWirt(['host', 'check'], { daemon });
    expect(code).toBe(0);
    expect(stdout).toBe(
      [
        '✗ KVM: missing: no vmx',
        '    why: Guests are slow.',
        '',
        '▲ Huge pages: could be better: none',
        '    why: Fewer TLB misses.',
        '    fix: echo 1 > /a',
        '         echo 2 > /b',
        '',
        '✓ io_uring: available',
        '',
        '1 ok, 1 could be better, 1 missing',
        '',
      ].join('\n'),
    );
  });

  it('check fails with --strict unless everything is ok', async () => {
    let found = findings;
    await using daemon = await startScriptedDaemon({
      'GET /v1/host/check': () => ({ json: { findings: found } }),
    });
    const strict = ['host', 'check', '--strict', '-o', 'name'];
    expect(await runWirt(strict, { daemon })).toMatchObject({ code: 1, stdout: 'thp\nkvm\n' });
    found = findings.slice(0, 1);
    expect(await runWirt(strict, { daemon })).toMatchObject({ code: 0, stdout: '' });
  });
});

describe('wirt version', () => {
  it('shows both sides', async () => {
    await using daemon = await startScriptedDaemon({ 'GET /v1/version': () => ({ json: version1 }) });
    const { code, stdout } = await runWirt(['version'], { daemon });
    expect(code).toBe(0);
    expect(stdout).toContain(`wirt   ${version} (Node ${process.version})`);
    expect(stdout).toContain('wirtd  0.1.0 (Node v24), pid 7, state in /var/lib/wirt');
  });

  it('shows its own, and exits with 5, when wirtd does not answer', async () => {
    const { code, stdout, stderr } = await runWirt(['version', '--socket', '/nowhere/s']);
    expect(code).toBe(5);
    expect(stdout).toContain('wirtd  does not answer');
    expect(stderr).toContain('No wirtd listens');
  });
});
