import { hostFindingSchema } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { bareFacts, changed, goodFacts } from '../facts.fixture.ts';
import type { HostFacts } from '../facts.ts';
import { judgeKvm } from '../kvm.ts';
import { findingsOf } from './findings.ts';

function finding(facts: HostFacts, id: string) {
  const found = findingsOf(facts).find((each) => each.id === id);
  if (found === undefined) throw new Error(`there is no finding ${id}`);
  return found;
}

const topics = [
  ...[
    'kvm',
    'qemu',
    'processor',
    'numa',
    'memory',
    'huge-pages',
    'thp',
    'ksm',
    'privileges',
    'uids',
    'cgroup',
  ],
  ...[
    'security-module',
    'iommu',
    'sr-iov',
    'io-uring',
    'vhost-net',
    'networks',
    'passt',
    'tun',
    'uefi',
    'tools',
  ],
];

describe('the findings about a host', () => {
  it('are the same topics on every host, each once', () => {
    for (const facts of [goodFacts, bareFacts]) expect(findingsOf(facts).map(({ id }) => id)).toEqual(topics);
  });

  it('are all ok where nothing is left to mend, and then no command is given', () => {
    for (const each of findingsOf(goodFacts)) {
      expect(each, each.id).toMatchObject({ level: 'ok' });
      expect(each.fix, each.id).toBeUndefined();
    }
  });

  it('say what was found, why it matters and which command mends it', () => {
    const bad = findingsOf(bareFacts);
    expect(bad.filter(({ level }) => level === 'ok').map(({ id }) => id)).toEqual(['ksm']);
    for (const each of bad) {
      hostFindingSchema.parse(each);
      expect(each.found.length, each.id).toBeGreaterThan(3);
      expect(each.why.length, each.id).toBeGreaterThan(40);
      if (each.level !== 'ok') expect(each.fix, each.id).toMatch(/^\S/);
    }
  });
});

describe('KVM', () => {
  const kvmFacts = (sights: Partial<Parameters<typeof judgeKvm>[0]>, privileged = true): HostFacts => {
    const virtualization = sights.virtualization ?? 'vmx';
    const access = { mode: 0o660, gid: 104 };
    const kvm = judgeKvm({ access, opened: true, isPrivileged: privileged, ...sights, virtualization });
    const { cpu, security } = goodFacts.host;
    return changed({
      kvm,
      host: { kvm: kvm.kvm, cpu: { ...cpu, virtualization }, security: { ...security, privileged } },
    });
  };

  it('that opens on a processor without virtualization is missing, and nesting is the way out', () => {
    const found = finding(kvmFacts({ virtualization: 'none' }), 'kvm');
    expect(found.level).toBe('missing');
    expect(found.found).toContain('hundred times slower');
    expect(found.fix).toContain('nested=1');
  });

  it('is given to the group, to the user, or loaded, whichever is missing', () => {
    expect(finding(kvmFacts({ access: { mode: 0o600, gid: 0 } }), 'kvm').fix).toContain('chgrp kvm /dev/kvm');
    expect(finding(kvmFacts({ opened: 'EACCES' }, false), 'kvm').fix).toContain('usermod -aG kvm');
    expect(finding(kvmFacts({ access: undefined, opened: 'ENOENT' }), 'kvm').fix).toBe('modprobe kvm_intel');
  });
});

describe('QEMU', () => {
  const qemu = goodFacts.host.qemu;
  if (qemu === undefined) throw new Error('the good host has QEMU');
  const without = (...features: string[]): HostFacts =>
    changed({
      host: {
        qemu: {
          ...qemu,
          features: { ...qemu.features, ...Object.fromEntries(features.map((name) => [name, false])) },
        },
      },
    });

  it('without what every guest needs is missing, whatever its version says', () => {
    const found = finding(without('sandbox', 'io-uring'), 'qemu');
    expect(found).toMatchObject({
      level: 'missing',
      found: '/usr/bin/qemu-system-x86_64 7.2.22 without sandbox',
    });
    expect(found.fix).toContain('apt-get install');
  });

  it('without what only makes guests faster could be better, and says what is lost', () => {
    const found = finding(without('io-uring', 'microvm'), 'qemu');
    expect(found.level).toBe('better');
    expect(found.why).toContain('disk I/O');
    expect(found.why).toContain('microvm');
  });

  it('that does not run is to be installed again', () => {
    const facts: HostFacts = {
      ...bareFacts,
      qemuProblem: { code: 'host.qemu_broken', message: 'It does not answer.', hint: 'See.' },
    };
    expect(finding(facts, 'qemu')).toMatchObject({ level: 'missing', found: 'It does not answer.' });
    expect(finding(facts, 'qemu').fix).toContain('--reinstall');
  });
});

describe('memory', () => {
  it('of guests gets huge pages as shared memory does, and not as private memory', () => {
    const of = (shmemThp: 'never' | 'deny') =>
      finding(changed({ pages: { ...goodFacts.pages, thp: 'always', shmemThp } }), 'thp');
    expect(of('never')).toMatchObject({ level: 'better', why: expect.stringContaining('memfds') });
    expect(of('deny')).toMatchObject({
      level: 'better',
      fix: 'echo never > /sys/kernel/mm/transparent_hugepage/shmem_enabled',
    });
  });

  it('that is nearly used up is missing; without swap it could be better', () => {
    const level = (availableMib: number, swapTotalMib: number) =>
      finding(changed({ host: { memory: { totalMib: 1000, availableMib, swapTotalMib } } }), 'memory').level;
    expect([level(99, 500), level(100, 0), level(100, 1)]).toEqual(['missing', 'better', 'ok']);
  });

  it('has no huge pages set aside: the command takes a quarter of what is available', () => {
    const host = {
      memory: { totalMib: 8192, availableMib: 4096, swapTotalMib: 1 },
      hugePages: [
        { sizeKib: 2048, total: 0, free: 0 },
        { sizeKib: 1_048_576, total: 0, free: 0 },
      ],
    };
    expect(finding(changed({ host }), 'huge-pages')).toMatchObject({
      level: 'better',
      found: '2 MiB: 0 free of 0; 1 GiB: 0 free of 0',
      fix: 'echo 512 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages',
    });
  });

  it('that is merged between guests is a leak, and could be better', () => {
    expect(finding(changed({ pages: { ...goodFacts.pages, ksmRun: 1 } }), 'ksm').level).toBe('better');
  });
});

describe('isolation', () => {
  it('without root is missing, and says what that costs', () => {
    const facts = changed({ host: { security: { ...goodFacts.host.security, privileged: false } } });
    expect(finding(facts, 'privileges')).toMatchObject({
      level: 'missing',
      fix: expect.stringContaining('sudo'),
    });
    expect(finding(facts, 'privileges').why).toMatch(/files and processes of the others.*limited/);
    expect(finding(facts, 'uids').level).toBe('missing');
  });

  it('by version 1 could be better, without a controller is missing', () => {
    const v1 = (...names: string[]): HostFacts =>
      changed({
        host: {
          cgroup: { version: 'v1', controllers: names.map((name) => ({ name, version: 'v1' as const })) },
        },
      });
    expect(finding(v1('cpu', 'memory', 'pids', 'blkio'), 'cgroup').level).toBe('better');
    const noMemory = finding(v1('cpu', 'pids', 'blkio'), 'cgroup');
    expect(noMemory).toMatchObject({ level: 'missing', found: 'v1: cpu, pids, blkio; without memory' });
    expect(noMemory.fix).toContain('cgroup_enable=memory');
    expect(finding(v1('cpu', 'memory', 'pids'), 'cgroup').found).toContain('without io');
  });

  it('by SELinux that only warns is one command away', () => {
    const security = { ...goodFacts.host.security, selinux: 'permissive' as const };
    expect(finding(changed({ host: { security } }), 'security-module')).toMatchObject({
      level: 'better',
      fix: 'setenforce 1',
    });
  });
});

describe('programs that are not installed', () => {
  it('are named with the packages that have them', () => {
    const tools = { ...goodFacts.tools, cpio: false, setpriv: false };
    expect(finding(changed({ tools }), 'tools')).toMatchObject({
      level: 'missing',
      found: 'without setpriv, cpio',
      fix: 'apt-get install -y util-linux cpio',
    });
  });
});

describe('what networks take', () => {
  it('that is missing is named with the packages that have it', () => {
    const tools = { ...goodFacts.tools, nft: false, dnsmasq: false };
    expect(finding(changed({ tools }), 'networks')).toMatchObject({
      level: 'missing',
      found: 'without nft, dnsmasq',
      fix: 'apt-get install -y --no-install-recommends nftables dnsmasq-base',
    });
  });

  it('is passt where QEMU connects to it again, and else a newer QEMU', () => {
    const { qemu } = goodFacts.host;
    if (qemu === undefined) throw new Error('There is a QEMU among the good facts.');
    const features = { ...qemu.features, 'stream-reconnect': false };
    const tools = { ...goodFacts.tools, passt: false };
    expect(finding(changed({ tools }), 'passt').fix).toBe('apt-get install -y passt');
    expect(finding(changed({ host: { qemu: { ...qemu, features } } }), 'passt').fix).toMatch(/QEMU 8/);
  });

  it('includes a device that guests may open, which wirtd sees to as root', () => {
    const why = (privileged: boolean) =>
      finding(changed({ tun: 0o600, host: { security: { ...goodFacts.host.security, privileged } } }), 'tun');
    expect(why(true)).toMatchObject({ level: 'better', fix: 'chmod 0666 /dev/net/tun' });
    expect(why(true).why).toContain('wirtd opens it');
    expect(why(false).why).not.toContain('wirtd');
  });
});

describe('UEFI firmware', () => {
  it('that is missing comes in another package on arm64', () => {
    const fix = (architecture: string) =>
      finding(changed({ uefi: undefined, host: { architecture } }), 'uefi').fix;
    expect([fix('x86_64'), fix('aarch64')]).toEqual([
      'apt-get install -y ovmf',
      'apt-get install -y qemu-efi-aarch64',
    ]);
  });
});
