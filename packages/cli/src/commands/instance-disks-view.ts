/** What people see of an instance's disks and media, and of what cloud-init was told. */
import type { CloudInitShown, Disk, Volume } from '@wirt/api';
import type { Block, Cell } from '../table.ts';
import { sizeText } from '../units.ts';

/** What the instance's record has only the ids of. */
export interface Known {
  readonly volumes: readonly Volume[];
  /** Name of the snapshot that its disks go on from. */
  readonly snapshot?: string;
  /** From instance-limits-view, which lists do without. */
  readonly limits?: readonly Block[];
}

export function diskBlock(disks: readonly Disk[], known: Known): Block {
  return {
    kind: 'table',
    title: 'Disks',
    columns: ['NAME', 'BUS', 'BOOT', 'SIZE', 'HOLDS', ''],
    rows: disks.map((disk) => diskRow(disk, known)),
    empty: '',
  };
}

function diskRow(disk: Disk, { volumes }: Known): Cell[] {
  const place = [disk.name, disk.bus, disk.bootOrder === undefined ? '-' : String(disk.bootOrder)];
  if (disk.device === 'cdrom')
    return [...place, '-', disk.image === undefined ? 'empty drive' : `image ${disk.image}`, 'CD drive'];
  const volume = volumes.find(({ id }) => id === disk.volume);
  const notes = [
    ...(disk.readOnly ? ['read-only'] : []),
    disk.deleteOnTermination ? 'goes with the instance' : 'stays when the instance goes',
  ];
  const size = volume === undefined ? '-' : sizeText(volume.spec.sizeBytes);
  return [...place, size, `volume ${volume?.name ?? disk.volume}`, notes.join(', ')];
}

export function seedFields(seed: CloudInitShown | undefined): (readonly [string, Cell])[] {
  if (seed === undefined) return [];
  const { datasource, hostname, user, sshKeys, password, userData, networkConfig } = seed;
  const given = [
    ...(password ? [`a password${user === undefined ? '' : ` for ${user}`}`] : []),
    ...(userData ? ['user-data'] : []),
    ...(networkConfig ? ['a network configuration'] : []),
  ];
  return [
    ['Told by', datasource === 'metadata' ? 'the metadata service, as in EC2' : 'a drive (NoCloud)'],
    ['Host name', hostname],
    ['SSH keys', sshKeys.length === 0 ? 'none' : sshKeys.map(keyText).join(', ')],
    ...(given.length === 0 ? [] : [['Also', given.join(', ')] as const]),
  ];
}

/** Its type and comment; what is between says nothing to people. */
function keyText(line: string): string {
  const [type = '', blob = '', ...comment] = line.split(/\s+/);
  return `${type} ${comment.length > 0 ? comment.join(' ') : `…${blob.slice(-8)}`}`;
}
