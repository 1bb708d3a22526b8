/** `wirt host cpu`, `host cpu-baseline`: processors that guests can have here, and on each of several hosts. */
import { readFile, stat } from 'node:fs/promises';
import type { CpuBaseline, HostCpuModels } from '@wirt/api';
import { WirtError } from '@wirt/api/errors';
import { type Commands, command } from '../command.ts';
import type { View } from '../print.ts';

const maxFileBytes = 4 * 1024 * 1024;

const cpu = command({
  arguments: {},
  options: {
    accel: {
      kind: 'choice',
      choices: ['auto', 'kvm', 'tcg'],
      default: 'auto',
      summary: 'By which guests run',
    },
  },
  examples: [
    {
      line: 'wirt host cpu',
      does: 'Features that guests can have here, and the models that have no others.',
    },
    { line: 'wirt host cpu -o json > a.json', does: 'For `wirt host cpu-baseline`, on any host.' },
    { line: 'wirt host cpu -o name', does: 'Only the models that guests can have here as they are.' },
  ],
  async run(context, { options }) {
    const found = await context.client.call('GET /v1/host/cpu', { query: { accelerator: options.accel } });
    return { view: cpuView(found) };
  },
});

const baseline = command({
  arguments: {
    file: {
      summary: 'What `wirt host cpu -o json` printed on each host',
      many: true,
      complete: 'file',
    },
  },
  options: {},
  examples: [
    {
      line: 'wirt host cpu-baseline a.json b.json',
      does: 'The processor that guests can have on both hosts, to migrate between them.',
    },
    {
      line: 'wirt run debian web --cpu "$(wirt host cpu-baseline a.json b.json -o name)"',
      does: 'A guest that has it.',
    },
  ],
  notes: ['Virtualization within the guest (vmx, svm) is left out: add it by hand where guests need it.'],
  async run(context, { args }) {
    const hosts = await Promise.all(args.file.map((file) => readHost(file)));
    const found = await context.client.call('POST /v1/host/cpu-baseline', { body: { hosts } });
    return { view: baselineView(found, args.file) };
  },
});

function cpuView(found: HostCpuModels): View {
  const usable = found.models.filter(({ unavailable }) => unavailable.length === 0).map(({ name }) => name);
  return {
    data: found,
    names: usable,
    table: () => [
      {
        kind: 'fields',
        fields: [
          ['Vendor', found.vendor],
          ['Accelerator', found.accelerator],
          ['QEMU', found.qemuVersion],
          ['Features', found.features.join(' ')],
          ...(found.unmigratable.length === 0
            ? []
            : [['Cannot migrate', found.unmigratable.join(' ')] as const]),
          ['Models', usable.join(' ')],
        ],
      },
    ],
  };
}

function baselineView(found: CpuBaseline, files: readonly string[]): View {
  const list = (features: readonly string[]): string => (features.length === 0 ? 'none' : features.join(' '));
  return {
    data: found,
    names: [found.cpuModel],
    table: () => [
      {
        kind: 'fields',
        fields: [
          ['CPU model', { text: found.cpuModel, tone: 'bold' }],
          ['Features', list(found.features)],
          ...files.map((file, index) => [`Lost on ${file}`, list(found.lost[index] ?? [])] as const),
        ],
      },
    ],
  };
}

/** The daemon checks what is in it. */
async function readHost(file: string): Promise<HostCpuModels> {
  try {
    const { size } = await stat(file);
    if (size > maxFileBytes) throw new Error(`it is larger than ${maxFileBytes} bytes`);
    return JSON.parse(await readFile(file, 'utf8')) as HostCpuModels;
  } catch (cause) {
    throw new WirtError('request.invalid', `${file} is not what \`wirt host cpu -o json\` prints.`, {
      cause,
      hint: 'On each of the hosts: `wirt host cpu -o json > NAME.json`.',
    });
  }
}

export const commands: Commands = { 'host cpu': cpu, 'host cpu-baseline': baseline };
