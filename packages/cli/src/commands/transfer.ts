/** `wirt import` and `export`: whole machines in from other hypervisors, and out again. What is lost on the way in is told first. */
import type { ImportNote, ImportPlan, Instance } from '@wirt/api';
import type { CallInput } from '@wirt/api/client';
import { type Commands, type Context, command } from '../command.ts';
import { idempotent } from '../context.ts';
import { cancelNote, copySeconds, followed, followOptions, lineView } from '../follow.ts';
import { diskFormat, diskFormatChoices, hostPath, sourcePath } from '../host-path.ts';
import { noteBlocks, noteLines, planBlocks } from './transfer-plan.ts';

/** An OVA is read to its end for its digests. */
const planMs = 3_600_000;

const importMachine = command({
  arguments: {
    file: { summary: 'An OVA, OVF, libvirt XML, xl.cfg or disk file', complete: 'file' },
  },
  options: {
    'dry-run': {
      kind: 'flag',
      short: 'n',
      summary: 'Only say what would be made, and what not carried over',
    },
    name: { kind: 'text', value: 'NAME', summary: 'Name of the instance (default the machine’s own)' },
    pool: {
      kind: 'text',
      value: 'POOL',
      complete: 'pool',
      summary: 'Where its disks are made (default “default”)',
    },
    cpus: {
      kind: 'integer',
      value: 'N',
      min: 1,
      max: 4096,
      short: 'c',
      summary: 'Virtual CPUs, instead of its own',
    },
    memory: { kind: 'mib', value: 'SIZE', short: 'm', summary: 'Memory, instead of its own' },
    firmware: { kind: 'choice', choices: ['bios', 'uefi'], summary: 'Firmware, instead of its own' },
    format: {
      kind: 'choice',
      choices: ['auto', 'ova', 'ovf', 'libvirt', 'xl', 'disk'],
      summary: 'What the file is (default by its content and name)',
    },
    'disk-format': { kind: 'choice', choices: diskFormatChoices, summary: 'What a bare disk must be' },
    start: { kind: 'flag', summary: 'Start it afterwards' },
    ...followOptions(copySeconds),
  },
  examples: [
    {
      line: 'wirt import web.ova --dry-run',
      does: 'What it would become, and every setting that is lost, with the reason.',
    },
    { line: 'wirt import web.ova --name web --start', does: 'From VMware or VirtualBox.' },
    { line: 'wirt import /etc/libvirt/qemu/db.xml', does: 'From libvirt, with the disks that it names.' },
  ],
  notes: [cancelNote, 'What was imported from is only read.'],
  async run(context, { args, options }) {
    const { name, pool, cpus, memory, firmware, format } = options;
    const ofDisk = options['disk-format'];
    const body: ImportBody = {
      path: sourcePath(args.file),
      ...(name === undefined ? {} : { name }),
      ...(pool === undefined ? {} : { pool }),
      ...(cpus === undefined ? {} : { cpus }),
      ...(memory === undefined ? {} : { memoryMib: memory }),
      ...(firmware === undefined ? {} : { firmware }),
      ...(format === undefined ? {} : { format }),
      ...(ofDisk === undefined ? {} : { diskFormat: diskFormat(ofDisk) }),
      start: options.start,
    };
    const dryRun = options['dry-run'];
    const plan = await context
      .clientWith({ answerMs: planMs })
      .call('POST /v1/imports/plan', { body: dryRun ? { ...body, dryRun } : body });
    if (dryRun)
      return { view: { data: plan, names: [plan.name], table: () => planBlocks(plan, 'would be') } };
    await tell(context, plan);
    const operation = await context.clientWith({ answerMs: planMs }).call('POST /v1/imports', {
      body,
      ...idempotent(),
    });
    return followed(context, operation, { ...options, cancels: true }, async ({ target }) => {
      const instance = await context.client.call('GET /v1/instances/{instance}', {
        params: { instance: target.id },
      });
      return lineView(instance, instance.name, '', importedLine(instance));
    });
  },
});

type ImportBody = CallInput<'POST /v1/imports'>['body'];

/** Before anything is changed. Programs get the notes on standard error: their output is the instance. */
async function tell(context: Context, plan: ImportPlan): Promise<void> {
  if (context.output === 'table')
    return context.print({ data: plan, names: [], table: () => planBlocks(plan, 'will be') });
  for (const line of noteLines(plan)) context.note(line);
}

function importedLine({ name, status }: Instance): string {
  return status.state === 'stopped'
    ? `${name} is imported. Start it: wirt start ${name}`
    : `${name} is imported, and is ${status.state}`;
}

const exportFormats = ['ova', 'libvirt', 'qcow2', 'raw'] as const;

const exportMachine = command({
  arguments: {
    name: { summary: 'Name or id of a stopped instance', complete: 'instance' },
    path: {
      summary: 'File to write, for libvirt and for several disks the directory; must not be there',
      optional: true,
      complete: 'file',
    },
  },
  options: {
    format: {
      kind: 'choice',
      choices: exportFormats,
      short: 'f',
      summary: 'What to write (default by the ending of the path, else ova)',
    },
    ...followOptions(copySeconds),
  },
  examples: [
    { line: 'wirt export web', does: 'Into ./web.ova, for VMware, VirtualBox and others.' },
    {
      line: 'wirt export web --format libvirt /srv/web',
      does: 'A directory with web.xml and its disks as qcow2.',
    },
    { line: 'wirt export web ./web.qcow2', does: 'The disk alone.' },
  ],
  notes: [cancelNote],
  async run(context, { args, options }) {
    const format = options.format ?? formatByEnding(args.path);
    const path = hostPath(args.path ?? (await defaultPath(context, args.name, format)));
    const operation = await context.client.call('POST /v1/instances/{instance}/export', {
      params: { instance: args.name },
      body: { format, path },
      ...idempotent(),
    });
    return followed(context, operation, { ...options, cancels: true }, (ended) => ({
      data: ended,
      names: [path],
      table: () => [
        { kind: 'lines', lines: [`${ended.target.name} is in ${path} (${format})`] },
        // What `exportMachine` of the contract puts into its result.
        ...noteBlocks((ended.result?.['notes'] ?? []) as readonly ImportNote[]),
      ],
    }));
  },
});

type ExportFormat = (typeof exportFormats)[number];

function formatByEnding(path: string | undefined): ExportFormat {
  const ending = /\.([a-z0-9]+)$/i.exec(path ?? '')?.[1]?.toLowerCase();
  if (ending === 'img') return 'raw';
  return exportFormats.find((format) => format === ending) ?? 'ova';
}

/** Here, by the name of the instance. */
async function defaultPath(context: Context, ref: string, format: ExportFormat): Promise<string> {
  const instance = await context.client.call('GET /v1/instances/{instance}', { params: { instance: ref } });
  const { name, spec } = instance;
  const disks = spec.disks.filter(({ device }) => device === 'disk').length;
  switch (format) {
    case 'ova':
      return `${name}.ova`;
    case 'libvirt':
      return name;
    case 'qcow2':
    case 'raw':
      return disks > 1 ? name : `${name}.${format}`;
  }
}

export const commands: Commands = { import: importMachine, export: exportMachine };
