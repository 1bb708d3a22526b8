// Judges memory, huge page pools, transparent huge pages and same-page merging. Pure.
import type { HostFinding } from '@wirt/api';
import type { HostFacts } from '../facts.ts';

export function memoryFindings(facts: HostFacts): HostFinding[] {
  return [memory(facts), hugePages(facts), thp(facts), ksm(facts)];
}

function memory({ host: { memory: m } }: HostFacts): HostFinding {
  const head = {
    id: 'memory',
    title: 'Memory',
    found: `${m.totalMib} MiB, ${m.availableMib} MiB available, ${m.swapTotalMib} MiB swap`,
  };
  if (m.availableMib < m.totalMib / 10)
    return {
      ...head,
      level: 'missing',
      why: 'Less than a tenth is left: new guests are refused, and the kernel may kill one that grows.',
      fix: 'ps -eo rss,pid,comm --sort=-rss | head',
    };
  if (m.swapTotalMib === 0)
    return {
      ...head,
      level: 'better',
      why: 'Without swap the kernel kills a guest at once when memory runs out, instead of first putting aside what nobody uses.',
      fix: 'fallocate -l 4G /swapfile && chmod 600 /swapfile && mkswap /swapfile && swapon /swapfile',
    };
  return { ...head, level: 'ok', why: 'What is available is what new guests can have.' };
}

const sizeText = (kib: number): string => (kib >= 1_048_576 ? `${kib / 1_048_576} GiB` : `${kib / 1024} MiB`);

function hugePages({ host }: HostFacts): HostFinding {
  const head = { id: 'huge-pages', title: 'Huge pages' };
  const pools = host.hugePages;
  if (pools.length === 0)
    return {
      ...head,
      level: 'missing',
      found: 'the kernel has none',
      why: 'Guests’ memory is in 4 KiB pages: memory-heavy guests spend several per cent of their time on address translation.',
      fix: 'grep -E "HUGETLB" "/boot/config-$(uname -r)"',
    };
  const found = pools
    .map(({ sizeKib, total, free }) => `${sizeText(sizeKib)}: ${free} free of ${total}`)
    .join('; ');
  if (pools.some(({ total }) => total > 0))
    return { ...head, level: 'ok', found, why: 'Guests that ask for huge pages get them from these pools.' };
  const smallest = pools[0]?.sizeKib ?? 2048;
  const pages = Math.max(1, Math.floor((host.memory.availableMib * 1024) / 4 / smallest));
  return {
    ...head,
    level: 'better',
    found,
    why: 'No page is set aside, so no guest can ask for them. They save memory-heavy guests several per cent, and are lost to everything else while set aside.',
    fix: `echo ${pages} > /sys/kernel/mm/hugepages/hugepages-${smallest}kB/nr_hugepages`,
  };
}

const thpDirectory = '/sys/kernel/mm/transparent_hugepage';

function thp({ pages, host: { security } }: HostFacts): HostFinding {
  const head = { id: 'thp', title: 'Transparent huge pages' };
  const cost = 'memory-heavy guests spend several per cent of their time on address translation.';
  if (pages.thp === 'absent')
    return {
      ...head,
      level: 'missing',
      found: 'the kernel has none',
      why: `Guests’ memory is in 4 KiB pages: ${cost}`,
      fix: 'grep TRANSPARENT_HUGEPAGE "/boot/config-$(uname -r)"',
    };
  const found = `${pages.thp}, for guests’ memory ${pages.shmemThp}`;
  if (pages.shmemThp === 'deny')
    return {
      ...head,
      level: 'better',
      found,
      why: `Guests’ memory is shared memory, which gets none on this host: ${cost}`,
      fix: `echo never > ${thpDirectory}/shmem_enabled`,
    };
  if (pages.shmemThp === 'never')
    return {
      ...head,
      level: 'better',
      found,
      why: `Guests’ memory is in memfds, which QEMU aligns so that the kernel maps none in them: ${cost} ${
        security.privileged
          ? 'The tmpfs for it could not be mounted.'
          : 'As root wirtd mounts a tmpfs for it.'
      }`,
      fix: security.privileged
        ? 'journalctl -u wirtd | grep memory_in_memfd'
        : 'sudo systemctl enable --now wirtd',
    };
  if (pages.thp === 'never')
    return {
      ...head,
      level: 'better',
      found,
      why: `Guests of the profile density, whose memory is private, get none: ${cost}`,
      fix: `echo madvise > ${thpDirectory}/enabled`,
    };
  return { ...head, level: 'ok', found, why: 'Guests’ memory is put together to huge pages as it is used.' };
}

function ksm({ pages }: HostFacts): HostFinding {
  const head = { id: 'ksm', title: 'Same-page merging (KSM)' };
  switch (pages.ksmRun) {
    case undefined:
      return {
        ...head,
        level: 'ok',
        found: 'the kernel has none',
        why: 'Equal pages of guests are not merged. That costs memory where guests are alike, and keeps them apart.',
      };
    case 1:
      return {
        ...head,
        level: 'better',
        found: 'merging',
        why: 'Equal pages of different guests are merged. That saves memory, takes processor time, and lets a guest find out by timing what is in another’s memory.',
        fix: 'echo 2 > /sys/kernel/mm/ksm/run',
      };
    default:
      return {
        ...head,
        level: 'ok',
        found: 'not merging',
        why: 'Guests cannot find out by timing what is in another’s memory. Where all guests trust each other and are alike, merging saves memory.',
      };
  }
}
