/** What people see of instances: the list, one in full, what became of several, and the proof of isolation. */
import type { Instance, InstanceExit, Isolation } from '@wirt/api';
import { actionsIn, type InstanceAction, type InstanceState } from '@wirt/api/instance-can';
import type { View } from '../print.ts';
import type { Block, Cell, Tone } from '../table.ts';
import { ageText, mibText } from '../units.ts';

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
          spec.image,
          String(spec.cpus),
          mibText(spec.memoryMib),
          status.agent ? 'yes' : '-',
        ]),
        empty: 'No instances. Create one: wirt run IMAGE (images: wirt image ls).',
      },
    ],
  };
}

export function instanceView(instance: Instance, nowMs: number): View {
  return { data: instance, names: [instance.name], table: () => instanceBlocks(instance, nowMs) };
}

function instanceBlocks(instance: Instance, nowMs: number): Block[] {
  const { spec, status, labels } = instance;
  const labelFields = Object.entries(labels).map(([key, value]) => [key, value] as const);
  return [
    { kind: 'fields', fields: statusFields(instance, nowMs) },
    { kind: 'fields', title: 'Spec', fields: specFields(spec) },
    ...(labelFields.length > 0 ? [{ kind: 'fields', title: 'Labels', fields: labelFields } as const] : []),
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
    ['Since', `${status.since} (${ageText(status.since, nowMs)} ago)`],
    ['Created', createdAt],
    ...(status.accelerator === undefined ? [] : [['Accelerator', status.accelerator] as const]),
    ...(process === undefined
      ? []
      : [['Process', `pid ${process.pid}, uid ${process.uid}, gid ${process.gid}`] as const]),
    ['Guest agent', status.agent ? 'answers' : 'does not answer'],
    ...(status.restarts > 0 ? [['Restarts in a row', String(status.restarts)] as const] : []),
    ...(restartAt === undefined ? [] : [['Next restart', restartAt] as const]),
  ];
}

function specFields(spec: Instance['spec']): Field[] {
  return [
    ['Image', spec.image],
    ['CPUs', String(spec.cpus)],
    ['Memory', `${mibText(spec.memoryMib)}${spec.overcommit ? ' (may overcommit)' : ''}`],
    ['Machine', spec.machine],
    ['Accelerator', spec.accelerator],
    ...(spec.cpuModel === undefined ? [] : [['CPU model', spec.cpuModel] as const]),
    ['Network', spec.nics.length === 0 ? 'none' : spec.nics.map(({ type }) => type).join(', ')],
    ['Restart', spec.restart],
    ['Autostart', spec.autostart ? 'yes' : 'no'],
  ];
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
    case 'update':
      return undefined;
    case 'start':
    case 'stop':
    case 'restart':
    case 'reset':
    case 'pause':
    case 'resume':
    case 'console':
      return `wirt ${action} ${name}`;
  }
}

function possibleNow({ name, status }: Instance): Field[] {
  const actions = actionsIn(status.state).filter(
    (action, _, all) => action !== 'remove --force' || !all.includes('remove'),
  );
  const fields = actions.flatMap((action): Field[] => {
    const line = commandFor(action, name);
    return line === undefined ? [] : [[action, line]];
  });
  const underway = ['starting', 'stopping', 'removing'].includes(status.state);
  return underway ? [['wait', `wirt operation ls --target ${name}`], ...fields] : fields;
}

/** What became of several instances, a line each. */
export interface Acted {
  readonly name: string;
  readonly line: string;
  readonly record: unknown;
}

export function actedView(acted: readonly Acted[]): View {
  return {
    data: acted.map(({ record }) => record),
    names: acted.map(({ name }) => name),
    table: () => [{ kind: 'lines', lines: acted.map(({ line }) => line) }],
  };
}

export function isolationView(name: string, found: Isolation): View {
  return { data: found, names: [name], table: () => isolationBlocks(found) };
}

function isolationBlocks(found: Isolation): Block[] {
  const list = (items: readonly (string | number)[]): string =>
    items.length === 0 ? 'none' : items.join(' ');
  const { capabilities } = found;
  return [
    {
      kind: 'fields',
      fields: [
        ['Pid', String(found.pid)],
        ['Uids (real, effective, saved, fs)', list(found.uids)],
        ['Gids (real, effective, saved, fs)', list(found.gids)],
        ['Supplementary groups', list(found.groups)],
        ['No new privileges', yesNo(found.noNewPrivileges)],
        ['Seccomp', seccompCell(found)],
        ['SELinux label', found.selinuxLabel ?? 'SELinux is off'],
      ],
    },
    {
      kind: 'fields',
      title: 'Capabilities',
      fields: Object.entries(capabilities).map(([set, names]) => [set, list(names)]),
    },
    {
      kind: 'table',
      columns: ['HIERARCHY', 'CGROUP', 'OWN'],
      rows: found.cgroups.map(({ hierarchy, path, own }) => [hierarchy, path, yesNo(own)]),
      empty: 'No control groups.',
    },
    {
      kind: 'table',
      columns: ['NAMESPACE', 'ID', 'SHARED WITH WIRTD'],
      rows: found.namespaces.map((each) => [each.name, each.id, each.shared ? 'yes' : 'no']),
      empty: 'No namespaces were found.',
    },
    {
      kind: 'table',
      columns: ['FD', 'OPEN FILE'],
      rows: found.openFiles.map(({ fd, target }) => [String(fd), target]),
      empty: 'No open files.',
    },
  ];
}

function yesNo(value: boolean): Cell {
  return value ? { text: 'yes', tone: 'good' } : { text: 'no', tone: 'warn' };
}

function seccompCell({ seccomp, seccompFilters }: Isolation): Cell {
  const filters =
    seccompFilters === undefined ? '' : ` (${seccompFilters} ${seccompFilters === 1 ? 'filter' : 'filters'})`;
  return { text: `${seccomp}${filters}`, tone: seccomp === 'filter' ? 'good' : 'bad' };
}
