/** The options of `wirt run` that fit a guest to the hardware. `wirt set` has a key for each of them. */
import type { Tuning } from '@wirt/api';
import type { OptionSpecs, OptionValues } from '../command.ts';
import { parseCpuList, parseCpuTopology } from '../cpu-list.ts';
import { usageError } from '../parse.ts';
import { BadValue, parseInteger } from '../units.ts';

export const tuningOptions = {
  profile: {
    kind: 'choice',
    choices: ['balanced', 'latency', 'density'],
    summary: 'What it is tuned for (default balanced)',
  },
  hugepages: {
    kind: 'choice',
    choices: ['none', '2M', '1G'],
    summary: 'Size of the pages that its memory is made of (default as its profile)',
  },
  placement: {
    kind: 'choice',
    choices: ['none', 'auto'],
    summary: 'auto: on the fewest NUMA nodes that hold it (default as its profile)',
  },
  dedicated: { kind: 'flag', summary: 'Give each vCPU a processor that no other guest runs on' },
  pin: {
    kind: 'pair',
    value: 'VCPU=CPUS',
    many: true,
    summary: 'Where one vCPU runs: its number from 0, and processors of the host such as 2-3',
  },
  'pin-emulator': { kind: 'text', value: 'CPUS', summary: 'Where QEMU’s own threads run' },
  'pin-iothreads': { kind: 'text', value: 'CPUS', summary: 'Where the threads of its disks run' },
  topology: {
    kind: 'text',
    value: 'SOCKETS,CORES,THREADS',
    summary: 'What the guest takes its vCPUs for, such as 1,4,2 (default as it is placed)',
  },
} as const satisfies OptionSpecs;

const mostVcpu = 4095;

/** Empty where nothing was asked for. */
export function tuningSpec(given: OptionValues<typeof tuningOptions>): { tuning?: Tuning } {
  const { profile, hugepages, placement, dedicated, topology } = given;
  const emulator = read('pin-emulator', given['pin-emulator'], parseCpuList);
  const iothreads = read('pin-iothreads', given['pin-iothreads'], parseCpuList);
  const seen = read('topology', topology, parseCpuTopology);
  const tuning: Tuning = {
    ...(profile === undefined ? {} : { profile }),
    ...(hugepages === undefined ? {} : { hugePages: hugepages }),
    ...(placement === undefined ? {} : { placement }),
    ...(dedicated ? { dedicated } : {}),
    ...(given.pin.length === 0 ? {} : { vcpuPins: vcpuPins(given.pin) }),
    ...(emulator === undefined ? {} : { emulatorPin: emulator }),
    ...(iothreads === undefined ? {} : { iothreadPin: iothreads }),
    ...(seen === undefined ? {} : { topology: seen }),
  };
  return Object.keys(tuning).length === 0 ? {} : { tuning };
}

function vcpuPins(pairs: readonly (readonly [string, string])[]): Record<string, string> {
  const pins = new Map<string, string>();
  for (const [vcpu, cpus] of pairs) {
    const number = String(read('pin', vcpu, (text) => parseInteger(text, 0, mostVcpu)));
    if (pins.has(number)) throw usageError('run', `--pin was given twice for vCPU ${number}.`);
    pins.set(number, read('pin', cpus, parseCpuList) ?? cpus);
  }
  return Object.fromEntries(pins);
}

function read<T>(option: string, text: string | undefined, parse: (text: string) => T): T | undefined {
  if (text === undefined) return undefined;
  try {
    return parse(text);
  } catch (error) {
    if (error instanceof BadValue) throw usageError('run', `--${option} ${error.message}.`);
    throw error;
  }
}
