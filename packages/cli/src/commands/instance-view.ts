/** What people see of instances: the list, and one in full. Its disks are in instance-disks-view. */
import type { Instance, InstanceExit } from '@wirt/api';
import { actionsIn, type InstanceAction, type InstanceState } from '@wirt/api/instance-can';
import type { View } from '../print.ts';
import type { Block, Cell, Tone } from '../table.ts';
import { ageText, mibText } from '../units.ts';
import { diskBlock, type Known, seedFields } from './instance-disks-view.ts';
import { metadataText, nicBlock } from './instance-nics-view.ts';
import { placementFields, tuningFields } from './tuning-view.ts';

const stateTones: Readonly<Record<InstanceState, Tone | undefined>> = {
  running: 'good',
  crashed: 'bad',
  unresponsive: 'bad',
  starting: 'warn',
  stopping: 'warn',
  removing: 'warn',
  paused: 'warn',
  stopped: undefined,
};

function stateCell(state: InstanceState): Cell {
  const tone = stateTones[state];
  return tone === undefined ? state : { text: state, tone };
}

/** The fields that the list shows, so that the daemon sends no more. */
export const listFields =
  'id,name,revision,spec.image,spec.cpus,spec.memoryMib,status.state,status.since,status.agent';

export function instanceListView(items: readonly Instance[], nowMs: number): View {
  return {
    data: items,
    names: items.map(({ name }) => name),
    table: () => [
      {
        kind: 'table',
        columns: ['NAME', 'STATE', 'SINCE', 'IMAGE', 'CPUS', 'MEMORY', 'AGENT'],
        rows: items.map(({ name, spec, status }) => [
          name,
          stateCell(status.state),
          ageText(status.since, nowMs),
          spec.image ?? '-',
          String(spec.cpus),
          mibText(spec.memoryMib),
          status.agent ? 'yes' : '-',
        ]),
        empty: 'No instances. Create one: wirt run IMAGE (images: wirt image ls).',
      },
    ],
  };
}

export function instanceView(instance: Instance, known: Known, nowMs: number): View {
  return { data: instance, names: [instance.name], table: () => instanceBlocks(instance, known, nowMs) };
}

function instanceBlocks(instance: Instance, known: Known, nowMs: number): Block[] {
  const { spec, status, labels } = instance;
  return [
    { kind: 'fields', fields: [...statusFields(instance, nowMs), ...reachFields(instance, known)] },
    { kind: 'fields', title: 'Spec', fields: specFields(instance) },
    diskBlock(spec.disks, known),
    nicBlock(spec.nics),
    ...(known.limits ?? []),
    { kind: 'fields', title: 'cloud-init', fields: seedFields(spec.cloudInit) },
    { kind: 'fields', title: 'Labels', fields: Object.entries(labels) },
    ...(status.exit === undefined
      ? []
      : [
          {
            kind: 'fields',
            title: 'How the last run ended',
            fields: exitFields(status.exit, nowMs),
          } as const,
        ]),
    { kind: 'fields', title: 'What can be done now', fields: possibleNow(instance) },
  ];
}

type Field = readonly [label: string, value: Cell];

function statusFields({ id, name, project, createdAt, status }: Instance, nowMs: number): Field[] {
  const { process, restartAt } = status;
  return [
    ['Name', { text: name, tone: 'bold' }],
    ['Id', id],
    ['Project', project],
    ['State', stateCell(status.state)],
    ...(status.pauseReason === undefined ? [] : [['Paused by QEMU', pauseText(status.pauseReason)] as const]),
    ['Since', `${status.since} (${ageText(status.since, nowMs)} ago)`],
    ['Created', createdAt],
    ...(status.accelerator === undefined ? [] : [['Accelerator', status.accelerator] as const]),
    ...(process === undefined
      ? []
      : [['Process', `pid ${process.pid}, uid ${process.uid}, gid ${process.gid}`] as const]),
    ...placementFields(status.placement),
    ...deviceFields(status.devices, 'Has of the host'),
    ...(status.run?.vsock === true ? [['Vsock', `CID ${status.vsockCid ?? '?'}`] as const] : []),
    ['Guest agent', status.agent ? 'answers' : 'does not answer'],
    ...(status.ready === undefined ? [] : [['Ready', status.ready ? 'yes' : 'not yet'] as const]),
    ...(status.restarts > 0 ? [['Restarts in a row', String(status.restarts)] as const] : []),
    ...(restartAt === undefined ? [] : [['Next restart', restartAt] as const]),
  ];
}

/** What it asks for, or what it has been lent. */
function deviceFields(
  devices: Instance['spec']['devices'] | Instance['status']['devices'],
  label: string,
  lent?: Instance['status']['devices'],
): Field[] {
  return (devices ?? []).map((device): Field => {
    const isLent = lent === undefined || lent.some(({ name }) => name === device.name);
    const when = isLent ? '' : ', from its next start';
    if ('pool' in device) return [label, `${device.name}: any of pool ${device.pool}${when}`];
    if ('mdev' in device && device.mdev !== undefined)
      return [label, `${device.name}: mediated device ${device.mdev}${when}`];
    return [label, `${device.name}: ${'address' in device ? device.address : ''}${when}`];
  });
}

function pauseText(reason: NonNullable<Instance['status']['pauseReason']>): Cell {
  switch (reason) {
    case 'no-space':
      return { text: 'its pool is full; it goes on by itself when there is room', tone: 'bad' };
    case 'io-error':
      return { text: 'a disk failed to read or write', tone: 'bad' };
  }
}

/** How to get to it, and which snapshot it goes on from. */
function reachFields({ name, status }: Instance, { snapshot }: Known): Field[] {
  const { addresses, ssh } = status;
  return [
    ...(addresses === undefined ? [] : [['Addresses', addresses.join(', ') || 'none'] as const]),
    ...(ssh === undefined ? [] : [['SSH', `wirt ssh ${name} (${ssh.host} port ${ssh.port})`] as const]),
    ...(status.snapshot === undefined ? [] : [['Snapshot', snapshot ?? status.snapshot] as const]),
  ];
}

function specFields({ spec, status }: Instance): Field[] {
  return [
    ['Image', spec.image ?? 'none'],
    ['CPUs', cpusText(spec)],
    ['Memory', memoryText(spec)],
    ['Machine', spec.machine],
    ['Firmware', spec.firmware ?? 'what the image boots by'],
    ['Accelerator', spec.accelerator],
    ...(spec.cpuModel === undefined ? [] : [['CPU model', spec.cpuModel] as const]),
    ...tuningFields(spec.tuning),
    ...deviceFields(spec.devices, 'Host device', status.process && (status.devices ?? [])),
    ...(spec.vsock === true ? [['Vsock', 'yes'] as const] : []),
    ...(spec.nics.length === 0 ? [['Network', 'none'] as const] : []),
    ['Metadata', metadataText(spec.metadata)],
    ['Restart', spec.restart],
    ['Autostart', spec.autostart ? 'yes' : 'no'],
  ];
}

function cpusText({ cpus, maxCpus = 0 }: Instance['spec']): string {
  return maxCpus > cpus ? `${cpus}, up to ${maxCpus} while it runs` : String(cpus);
}

function memoryText({ memoryMib, maxMemoryMib = 0, overcommit }: Instance['spec']): string {
  const most = maxMemoryMib > memoryMib ? `, up to ${mibText(maxMemoryMib)} while it runs` : '';
  return `${mibText(memoryMib)}${most}${overcommit ? ' (may overcommit)' : ''}`;
}

function exitFields(exit: InstanceExit, nowMs: number): Field[] {
  return [
    ['At', `${exit.at} (${ageText(exit.at, nowMs)} ago)`],
    ['Reason', exit.reason],
    ...(exit.code === undefined ? [] : [['Exit status', String(exit.code)] as const]),
    ...(exit.signal === undefined ? [] : [['Signal', exit.signal] as const]),
    ['Message', exit.message],
  ];
}

/** The command for an action; undefined for those that have another one (`remove` with and without `--force`). */
function commandFor(action: InstanceAction, name: string): string | undefined {
  switch (action) {
    case 'remove':
      return `wirt rm ${name}`;
    case 'remove --force':
      return `wirt rm --force ${name}`;
    case 'rename':
      return `wirt rename ${name} NEW`;
    case 'exec':
      return `wirt exec ${name} -- COMMAND`;
    case 'cp':
      return `wirt cp FILE ${name}:/PATH`;
    case 'isolation':
      return `wirt show ${name} --isolation`;
    case 'attach':
      return `wirt volume attach VOLUME ${name}`;
    case 'detach':
      return `wirt volume detach ${name}/DISK`;
    case 'medium':
      return `wirt media insert ${name} IMAGE`;
    case 'snapshot':
      return `wirt snapshot create ${name}`;
    case 'restore':
      return `wirt snapshot restore ${name} SNAPSHOT`;
    case 'update':
      return `wirt set ${name} KEY=VALUE`;
    case 'start':
    case 'stop':
    case 'restart':
    case 'reset':
    case 'pause':
    case 'resume':
    case 'console':
    case 'export':
    case 'ssh':
      return `wirt ${action} ${name}`;
  }
}

/** Without what there is nothing for: no disk to detach, no drive for a medium. */
function isOffered(
  action: InstanceAction,
  { spec, status }: Instance,
  all: readonly InstanceAction[],
): boolean {
  const has = (device: 'disk' | 'cdrom'): boolean => spec.disks.some((disk) => disk.device === device);
  switch (action) {
    case 'remove --force':
      return !all.includes('remove');
    case 'detach':
    case 'snapshot':
    case 'export':
      return has('disk');
    case 'medium':
      return has('cdrom');
    case 'restore':
      return status.snapshot !== undefined;
    case 'ssh':
      return status.ssh !== undefined;
    default:
      return true;
  }
}

function possibleNow(instance: Instance): Field[] {
  const { name, status } = instance;
  const actions = actionsIn(status.state).filter((action, _, all) => isOffered(action, instance, all));
  const fields = actions.flatMap((action): Field[] => {
    const line = commandFor(action, name);
    return line === undefined ? [] : [[action, line]];
  });
  const underway = ['starting', 'stopping', 'removing'].includes(status.state);
  return underway ? [['wait', `wirt operation ls --target ${name}`], ...fields] : fields;
}
