/** What people see of what is promised: beside each thing that there is, how much of it guests have been promised, and what is left. */
import type { HostCapacity } from '@wirt/api';
import type { View } from '../print.ts';
import type { Block, Cell } from '../table.ts';
import { bytesText, mibText } from '../units.ts';

export function capacityView(found: HostCapacity): View {
  return {
    data: found,
    names: ['cpus', 'memory', 'hugePages', 'pools'],
    table: () => [promiseBlock(found), detailBlock(found), pageBlock(found), poolBlock(found)],
  };
}

function amount(mib: number): string {
  return bytesText(mib * 1_048_576);
}

function vcpus(count: number): string {
  return `${count} vCPU${count === 1 ? '' : 's'}`;
}

/** What is promised beyond what there is to promise is shown as such: a factor can have been lowered. */
function left(most: number, promised: number, text: (count: number) => string): Cell {
  if (promised > most) return { text: `${text(promised - most)} too many`, tone: 'bad' };
  return { text: text(most - promised), tone: promised === most ? 'warn' : 'good' };
}

function promiseBlock({ cpus, memory, settings }: HostCapacity): Block {
  return {
    kind: 'table',
    columns: ['', 'THERE IS', 'FACTOR', 'MAY BE PROMISED', 'PROMISED', 'LEFT'],
    rows: [
      [
        'Processors',
        String(cpus.online),
        `× ${settings.cpuOvercommit}`,
        vcpus(cpus.promisable),
        vcpus(cpus.promised),
        left(cpus.promisable, cpus.promised, vcpus),
      ],
      [
        'Memory',
        amount(memory.totalMib),
        `× ${settings.memoryOvercommit}`,
        amount(memory.promisableMib),
        amount(memory.promisedMib),
        left(memory.promisableMib, memory.promisedMib, amount),
      ],
    ],
    empty: '',
  };
}

function detailBlock({ cpus, memory }: HostCapacity): Block {
  return {
    kind: 'fields',
    fields: [
      ['Processors that guests have alone', cpus.dedicated === '' ? 'none' : cpus.dedicated],
      ['Memory available now', amount(memory.availableMib)],
      ['Memory that is reserved', amount(memory.reservedMib)],
      ['Memory in pools of huge pages', amount(memory.hugePagesMib)],
    ],
  };
}

/** Free are also pages that are promised and not touched yet. */
function pageBlock({ hugePages }: HostCapacity): Block {
  const some = hugePages.filter(({ total, promised }) => total > 0 || promised > 0);
  return {
    kind: 'table',
    columns: ['NODE', 'HUGE PAGES', 'THERE ARE', 'FREE NOW', 'PROMISED', 'LEFT'],
    rows: some.map(({ node, sizeKib, total, free, promised }) => [
      String(node),
      mibText(sizeKib / 1024),
      String(total),
      String(free),
      String(promised),
      left(Math.max(promised, Math.min(total, promised + free)), promised, String),
    ]),
    empty: 'No pools of huge pages. How to have some: docs/howto/huge-pages.md.',
  };
}

/** Volumes are thin: what is promised need not be there until it is written. */
function poolBlock({ pools, settings }: HostCapacity): Block {
  return {
    kind: 'table',
    columns: [
      'POOL',
      'CAPACITY',
      'FACTOR',
      'MAY BE PROMISED',
      'PROMISED',
      'TO RUNNING GUESTS',
      'LEFT',
      'ALLOCATED',
    ],
    rows: pools.map(
      ({ name, capacityBytes, allocatedBytes, promisableBytes, promisedBytes, runningBytes }) => [
        name,
        bytesText(capacityBytes),
        `× ${settings.poolOvercommit}`,
        bytesText(promisableBytes),
        bytesText(promisedBytes),
        bytesText(runningBytes),
        left(promisableBytes, promisedBytes, bytesText),
        bytesText(allocatedBytes),
      ],
    ),
    empty: 'No pools.',
  };
}
