// Judges the processor and the NUMA nodes. Pure.
import type { HostFinding } from '@wirt/api';
import type { HostFacts } from '../facts.ts';

export function processorFindings(facts: HostFacts): HostFinding[] {
  return [processor(facts), numa(facts)];
}

function processor({ host: { cpu }, governor }: HostFacts): HostFinding {
  const slow = governor !== undefined && governor !== 'performance' && governor !== 'schedutil';
  const governed = governor === undefined ? '' : `, frequency governor ${governor}`;
  const found = `${cpu.model}: ${cpu.sockets} socket(s), ${cpu.cores} core(s), ${cpu.threads} thread(s)${governed}`;
  const head = { id: 'processor', title: 'Processor', found };
  if (!slow)
    return {
      ...head,
      level: 'ok',
      why: 'Guests share these threads; what they are promised together should not be more.',
    };
  return {
    ...head,
    level: 'better',
    why: `Under the governor ${governor} the processor speeds up late, and guests with short bursts of work answer slowly.`,
    fix: 'for f in /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor; do echo performance > "$f"; done',
  };
}

function numa({ host: { numa: nodes }, pages }: HostFacts): HostFinding {
  const head = { id: 'numa', title: 'NUMA' };
  if (nodes.length <= 1)
    return {
      ...head,
      level: 'ok',
      found: nodes.length === 0 ? 'no NUMA information, which is one node' : 'one node',
      why: 'All memory is equally near to all processors: there is nothing to place.',
    };
  const found = nodes
    .map(({ node, cpus, memoryMib }) => `node ${node}: CPUs ${cpus || 'none'}, ${memoryMib} MiB`)
    .join('; ');
  if (pages.numaBalancing === 0)
    return {
      ...head,
      level: 'better',
      found: `${found}; automatic balancing is off`,
      why: 'A guest whose memory is on another node than its processors runs at the speed of the link between them; the kernel can bring them together.',
      fix: 'sysctl -w kernel.numa_balancing=1',
    };
  return {
    ...head,
    level: 'ok',
    found,
    why: 'The kernel keeps a guest’s memory and processors together.',
  };
}
