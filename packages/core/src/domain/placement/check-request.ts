/** Refuses a request that no host could keep, and pins to processors that are not there or belong to others. Pure. */
import { printCpuList } from '@wirt/api';
import type { IdList, PlacementRequest, Refusal } from './placement.ts';
import type { Survey } from './survey.ts';

export function requestRefusal(request: PlacementRequest, survey: Survey): Refusal | undefined {
  return countRefusal(request) ?? pinnedVcpuRefusal(request) ?? pinnedCpuRefusal(request, survey);
}

function invalid(message: string, hint: string, details: Refusal['details'] = {}): Refusal {
  return { code: 'instance.invalid_topology', message, hint, details };
}

function countRefusal({ name, cpus, maxCpus, memoryMib, topology }: PlacementRequest): Refusal | undefined {
  const areCounts = [cpus, maxCpus, memoryMib].every((count) => Number.isSafeInteger(count) && count >= 1);
  if (!areCounts || cpus > maxCpus) {
    return invalid(
      `${name} cannot have ${cpus} vCPUs of at most ${maxCpus}, and ${memoryMib} MiB.`,
      `Give it whole numbers, and no more vCPUs than it may have at most: \`wirt set ${name} max-cpus=${cpus}\`.`,
      { cpus, maxCpus, memoryMib },
    );
  }
  if (topology === undefined) return undefined;
  const { sockets, cores, threads } = topology;
  const product = sockets * cores * threads;
  const areWhole = [sockets, cores, threads].every((count) => Number.isSafeInteger(count) && count >= 1);
  if (areWhole && product === maxCpus) return undefined;
  return invalid(
    `${name} is asked for with ${sockets} sockets of ${cores} cores of ${threads} threads, which is ${product}, and may have ${maxCpus} vCPUs.`,
    `Make them the same, or leave the topology to Wirt: \`wirt set ${name} max-cpus=${product}\` or \`wirt set ${name} topology=\`.`,
    { sockets, cores, threads, product, maxCpus },
  );
}

function pinnedVcpuRefusal({ name, dedicated, pins, maxCpus }: PlacementRequest): Refusal | undefined {
  const vcpus = Object.entries(pins.vcpus);
  const beyond = vcpus
    .map(([vcpu]) => vcpu)
    .find((vcpu) => !/^\d{1,6}$/.test(vcpu) || Number(vcpu) >= maxCpus);
  if (beyond !== undefined) {
    return invalid(
      `${name} pins vCPU ${beyond}, and its vCPUs are 0 to ${maxCpus - 1}.`,
      'Pin only those that it has, or let it have more with `--max-cpus`.',
      { vcpu: beyond, maxCpus },
    );
  }
  const empty = pinLists(pins).find(({ cpus }) => cpus.length === 0);
  if (empty !== undefined) {
    return invalid(`${name} pins ${empty.what} to no processor at all.`, 'Name one, or leave the pin out.');
  }
  if (!dedicated || vcpus.length === 0) return undefined;
  if (vcpus.length < maxCpus) {
    return invalid(
      `${name} has dedicated processors and pins ${vcpus.length} of its ${maxCpus} vCPUs.`,
      'Pin all of them, or none and let Wirt choose.',
      { pinned: vcpus.length, maxCpus },
    );
  }
  const holder = new Map<number, string>();
  for (const [vcpu, cpus] of vcpus) {
    for (const cpu of new Set(cpus)) {
      const other = holder.get(cpu);
      if (other !== undefined) {
        return invalid(
          `${name} has dedicated processors and pins vCPUs ${other} and ${vcpu} both to processor ${cpu}.`,
          'Give each vCPU a processor of its own.',
          { cpu },
        );
      }
      holder.set(cpu, vcpu);
    }
  }
  return undefined;
}

interface PinList {
  readonly what: string;
  readonly cpus: IdList;
}

function pinLists({ vcpus, emulator, iothreads }: PlacementRequest['pins']): PinList[] {
  return [
    ...Object.entries(vcpus).map(([vcpu, cpus]) => ({ what: `vCPU ${vcpu}`, cpus })),
    ...(emulator === undefined ? [] : [{ what: 'the emulator', cpus: emulator }]),
    ...(iothreads === undefined ? [] : [{ what: 'the iothreads', cpus: iothreads }]),
  ];
}

function pinnedCpuRefusal({ name, pins }: PlacementRequest, survey: Survey): Refusal | undefined {
  for (const { what, cpus } of pinLists(pins)) {
    const missing = cpus.filter((cpu) => !survey.cpus.has(cpu));
    if (missing.length > 0) {
      const online = printCpuList([...survey.cpus.keys()]);
      return {
        code: 'host.no_such_cpu',
        message: `${name} pins ${what} to processor ${printCpuList(missing)}, which the host does not have online: it has ${online}.`,
        hint: 'Pin it to one of those; `wirt host topology` shows them by node.',
        details: { missing: printCpuList(missing), online },
      };
    }
    const taken = cpus.filter((cpu) => survey.ownerOf.has(cpu));
    if (taken.length > 0) return takenRefusal(name, `pins ${what} to`, taken, survey.ownerOf);
  }
  return undefined;
}

/** Names the guests that have the processors. */
export function takenRefusal(
  name: string,
  does: string,
  taken: IdList,
  ownerOf: ReadonlyMap<number, string>,
): Refusal {
  const owners = [...new Set(taken.flatMap((cpu) => ownerOf.get(cpu) ?? []))];
  const by = owners.slice(0, 5).join(', ') + (owners.length > 5 ? ` and ${owners.length - 5} more` : '');
  return {
    code: 'host.cpus_taken',
    message: `${name} ${does} processor ${printCpuList(taken)}, which ${by} has.`,
    hint: `Choose others, or stop who has them: \`wirt stop ${owners[0] ?? ''}\`.`,
    details: { taken: printCpuList(taken), by },
  };
}
