/** What people see of how a guest's process is confined. */
import type { Isolation } from '@wirt/api';
import type { View } from '../print.ts';
import type { Block, Cell } from '../table.ts';

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
