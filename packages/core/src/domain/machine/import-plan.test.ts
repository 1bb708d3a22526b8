// What a plan says of files that a description names, and that a guest would get as they are.
import { describe, expect, it } from 'vitest';
import { type DiskLook, planOf, readMachine } from './import-plan.ts';

const domain = `<domain type="kvm"><name>web</name><memory unit="GiB">1</memory><vcpu>1</vcpu>
  <os><type arch="x86_64" machine="q35">hvm</type></os><devices>
  <disk type="file" device="disk"><driver name="qemu" type="raw"/><source file="/dev/disk/by-id/x"/><target dev="vda" bus="virtio"/></disk>
  </devices></domain>`;

function noted(look: Partial<Extract<DiskLook, { state: 'found' }>>): string[] {
  const draft = readMachine('libvirt', domain, { path: '', format: undefined });
  const size = 2 ** 20;
  const found = { state: 'found', format: 'raw', virtualSizeBytes: size, fileBytes: size } as const;
  const looks = new Map<string, DiskLook>([['vda', { ...found, unmarked: [], ...look }]]);
  return planOf('libvirt', draft, looks)
    .notes.filter(({ setting }) => setting === 'file of vda')
    .map(({ value }) => value);
}

describe('a plan', () => {
  it('names the device of the host that is behind what looks like a file', () => {
    expect(noted({})).toEqual([]);
    expect(noted({ device: '/dev/sdc1' })).toEqual(['/dev/sdc1']);
  });

  it('names the files that nothing shows to be disks', () => {
    expect(noted({ unmarked: ['/root/notes', '/root/flat'] })).toEqual(['/root/notes', '/root/flat']);
  });
});
