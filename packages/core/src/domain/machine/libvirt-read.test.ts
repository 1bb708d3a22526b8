import { WirtError } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { readLibvirt } from './libvirt-read.ts';
import type { ImportNote } from './notes.ts';

interface Parts {
  devices?: string;
  os?: string;
  rest?: string;
  type?: string;
}

const osType = '<type arch="x86_64" machine="q35">hvm</type>';

function domain({ devices = '', os = osType, rest = '', type = 'kvm' }: Parts = {}): string {
  return `<domain type="${type}" xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0"><name>web</name><memory unit="GiB">2</memory><vcpu>2</vcpu><os>${os}</os>${rest}<devices>${devices}</devices></domain>`;
}

function disk(inner: string, attributes = 'type="file" device="disk"'): string {
  return `<disk ${attributes}>${inner}</disk>`;
}

const file = '<driver name="qemu" type="qcow2"/><source file="/images/web.qcow2"/>';

function noteOf(notes: readonly ImportNote[], setting: string): ImportNote | undefined {
  return notes.find((each) => each.setting === setting);
}

function refusal(text: string): string {
  try {
    readLibvirt(text);
  } catch (error) {
    if (error instanceof WirtError) return `${error.code} ${error.message}`;
    throw error;
  }
  return 'read';
}

describe('a domain of libvirt', () => {
  it('becomes a machine, with a note for all that is not carried over', () => {
    const { notes, ...draft } = readLibvirt(
      domain({
        os: '<type arch="x86_64" machine="pc-i440fx-8.2">hvm</type><loader readonly="yes" type="pflash">/usr/share/OVMF/OVMF_CODE.fd</loader><nvram>/var/web_VARS.fd</nvram><boot dev="cdrom"/><boot dev="hd"/>',
        rest: '<uuid>c7a5fdbd-edaf-9455-926a-d65c16db1809</uuid><description>The shop</description><on_poweroff>destroy</on_poweroff><clock offset="localtime"/><cputune><vcpupin vcpu="0" cpuset="3"/></cputune><qemu:commandline><qemu:arg value="-foo"/></qemu:commandline>',
        devices: `<emulator>/usr/bin/qemu</emulator>
          ${disk(`${file}<target dev="vda" bus="virtio"/><serial>S1</serial><iotune><total_iops_sec>100</total_iops_sec></iotune><address type="pci" slot="0x04"/>`)}
          ${disk('<driver name="qemu" type="raw" cache="none"/><source file="/iso/deb.iso"/><target dev="sda" bus="sata"/><readonly/>', 'type="file" device="cdrom"')}
          <controller type="usb" index="0"/><controller type="pci" index="0" model="pcie-root"/>
          <interface type="bridge"><mac address="52:54:00:AA:bb:01"/><source bridge="br0"/><model type="virtio"/><bandwidth><inbound average="1"/></bandwidth></interface>
          <hostdev mode="subsystem" type="pci"><source><address bus="0x01"/></source></hostdev>
          <hostdev mode="subsystem" type="usb"/><graphics type="vnc" passwd="hunter2"/>`,
      }),
    );
    expect(draft).toEqual({
      name: 'web',
      description: 'The shop',
      cpus: 2,
      memoryMib: 2048,
      firmware: 'uefi',
      machine: 'q35',
      disks: [
        {
          key: 'vda',
          device: 'disk',
          source: { kind: 'file', name: '/images/web.qcow2' },
          format: 'qcow2',
          bus: 'virtio',
          readOnly: false,
          serial: 'S1',
          bootOrder: 2,
        },
        {
          key: 'sda',
          device: 'cdrom',
          source: { kind: 'file', name: '/iso/deb.iso' },
          format: 'raw',
          bus: 'sata',
          readOnly: true,
          bootOrder: 1,
        },
      ],
      nics: [{ mac: '52:54:00:aa:bb:01', model: 'virtio', network: 'br0' }],
    });
    expect(notes.map(({ setting, effect }) => `${effect} ${setting}`)).toEqual([
      'changed os/type/@machine',
      'changed os/loader',
      'dropped os/nvram',
      'changed devices/interface/source',
      'changed uuid',
      'hint clock/@offset',
      'dropped cputune/vcpupin',
      'dropped qemu:commandline/qemu:arg',
      'changed devices: addresses, aliases, controllers',
      'dropped devices/disk[1]/iotune',
      'changed devices/disk/driver',
      'dropped devices/interface/bandwidth',
      'dropped devices/hostdev[1]',
      'dropped devices/hostdev[2]',
      'dropped devices/graphics',
    ]);
    expect(noteOf(notes, 'devices: addresses, aliases, controllers')?.value).toBe(
      'emulator=/usr/bin/qemu, address, controller ×2',
    );
    expect(noteOf(notes, 'devices/graphics')?.value).toBe('type=vnc passwd=***');
  });

  it.each([
    ['<target dev="hda" bus="ide"/>', 'sata'],
    ['<target dev="hda"/>', 'sata'],
    ['<target dev="vda"/>', 'virtio'],
    ['<target dev="sda" bus="sata"/>', 'sata'],
    ['<target dev="sda" bus="usb"/>', 'sata'],
    ['<target dev="nvme0n1" bus="nvme"/>', 'nvme'],
    ['<target dev="sda" bus="scsi"/>', 'lsi'],
    ['<target dev="xvda" bus="xen"/>', 'sata'],
  ])('has a disk with %s on the bus %s', (target, bus) => {
    expect(readLibvirt(domain({ devices: disk(file + target) })).disks[0]?.bus).toBe(bus);
  });

  it.each([
    ['virtio-scsi', 'virtio-scsi'],
    ['virtio-non-transitional', 'virtio-scsi'],
    ['vmpvscsi', 'pvscsi'],
    ['lsisas1068', 'lsi'],
    ['lsilogic', 'lsi'],
    ['buslogic', 'sata'],
  ])('has a SCSI disk on its own controller %s on the bus %s', (model, bus) => {
    const controllers = `<controller type="scsi" index="0" model="ibmvscsi"/><controller type="scsi" index="1" model="${model}"/>`;
    const devices = `${controllers}${disk(`${file}<target dev="sda" bus="scsi"/><address type="drive" controller="1"/>`)}`;
    expect(readLibvirt(domain({ devices })).disks[0]?.bus).toBe(bus);
  });

  it('takes places per device before places per class', () => {
    const devices = `${disk(`${file}<target dev="vda"/><boot order="7"/>`)}<interface type="user"><model type="virtio"/><boot order="2"/></interface>`;
    const draft = readLibvirt(domain({ devices }));
    expect([draft.disks[0]?.bootOrder, draft.nics[0]?.bootOrder]).toEqual([2, 1]);
  });

  it('leaves the format open where it is not said', () => {
    const draft = readLibvirt(domain({ devices: disk('<source file="/a"/><target dev="vda"/>') }));
    expect(draft.disks[0]).not.toHaveProperty('format');
  });

  it.each([
    ['a network', 'type="network" device="disk"', '<source protocol="nbd" name="x"/>', 'on a network'],
    ['a pool', 'type="volume" device="disk"', '<source pool="default" volume="x"/>', 'virsh vol-path'],
    ['a folder', 'type="dir" device="disk"', '<source dir="/x"/>', 'FAT'],
    ['an NVMe device', 'type="nvme" device="disk"', '<source type="pci"/>', 'NVMe'],
    ['a passed-through LUN', 'type="block" device="lun"', '<source dev="/dev/sda"/>', 'not passed through'],
    ['a floppy drive', 'type="file" device="floppy"', '<source file="/x"/>', 'no floppy'],
    ['an encrypted image', 'type="file" device="disk"', `${file}<encryption format="luks"/>`, 'encrypted'],
    [
      'a format that is not read',
      'type="file" device="disk"',
      '<driver type="qed"/><source file="/x"/>',
      'qemu-img convert',
    ],
    ['no file', 'type="file" device="disk"', '', 'names no file'],
  ])('leaves out a disk on %s, and says why', (_what, attributes, inner, reason) => {
    const { disks, notes } = readLibvirt(
      domain({ devices: disk(`${inner}<target dev="vda"/>`, attributes) }),
    );
    expect(disks).toEqual([]);
    expect(noteOf(notes, 'devices/disk')).toMatchObject({ effect: 'dropped' });
    expect(noteOf(notes, 'devices/disk')?.reason).toContain(reason);
  });

  it('hints at a chain of files, and passes an empty end of one', () => {
    const end = `${file}<backingStore/><target dev="vda"/>`;
    expect(
      readLibvirt(domain({ devices: disk(end) })).notes.filter(({ effect }) => effect === 'hint'),
    ).toEqual([]);
    const chain = `${file}<backingStore type="file"><format type="raw"/><source file="/base"/><backingStore/></backingStore><target dev="vda"/>`;
    const { notes } = readLibvirt(domain({ devices: disk(chain) }));
    expect(noteOf(notes, 'devices/disk/backingStore')).toMatchObject({ effect: 'hint' });
  });

  it('of paravirtual Xen becomes a normal one with virtio', () => {
    const devices = `${disk('<driver name="tap" type="raw"/><source file="/a.img"/><target dev="xvda" bus="xen"/>')}<interface type="bridge"><source bridge="b"/></interface>`;
    const draft = readLibvirt(
      domain({ type: 'xen', os: '<type>linux</type><kernel>/vmlinuz</kernel>', devices }),
    );
    expect(draft).toMatchObject({ disks: [{ bus: 'virtio' }], nics: [{ model: 'virtio' }] });
    expect(noteOf(draft.notes, 'os/type')?.effect).toBe('changed');
    expect(noteOf(draft.notes, 'os/kernel')?.effect).toBe('hint');
  });

  it.each([
    ['<memory>1048576</memory>', 1024],
    ['<memory unit="MB">1000</memory>', 954],
    ['<memory unit="b">104857600</memory>', 100],
    ['<memory unit="TiB">1</memory>', 1_048_576],
  ])('with %s has %d MiB', (memory, memoryMib) => {
    const text = domain().replace('<memory unit="GiB">2</memory>', memory);
    expect(readLibvirt(text).memoryMib).toBe(memoryMib);
  });

  it('has its foreign name as a label, and says so', () => {
    const { name, notes } = readLibvirt(domain().replace('>web<', '>Web Server_01\u{202e}<'));
    expect(name).toBe('web-server-01');
    expect(noteOf(notes, 'name')?.value).toBe('Web Server_01\u{fffd}');
  });
});

describe('a domain of libvirt is refused', () => {
  it('when it is no virtual machine for x86', () => {
    expect(refusal(domain({ type: 'lxc' }))).toContain('import.unsupported Domains of type "lxc"');
    expect(refusal(domain({ os: '<type arch="aarch64">hvm</type>' }))).toContain(
      'processors of type aarch64',
    );
    expect(refusal(domain({ os: '<type>exe</type>' }))).toContain('container');
    expect(refusal('<network/>')).toContain('begins with <network>');
  });

  it.each([['web.qcow2'], ['/images/../etc/shadow'], ['json:{}'], ['/a\u{85}b']])(
    'for a disk with the file %j',
    (path) => {
      expect(refusal(domain({ devices: disk(`<source file="${path}"/><target dev="vda"/>`) }))).toMatch(
        /^import\.malformed The file of devices\/disk, .* is not a plain absolute path/,
      );
    },
  );

  it('for memory and processors that cannot be', () => {
    const memory = (text: string): string => refusal(domain().replace('<memory unit="GiB">2</memory>', text));
    expect(memory('')).toContain('how much memory');
    expect(memory('<memory unit="EiB">16</memory>')).toContain('which cannot be');
    expect(memory('<memory unit="pounds">1</memory>')).toContain('no unit that libvirt has');
    expect(memory('<memory>1e9</memory>')).toContain('no whole number');
    expect(refusal(domain().replace('<vcpu>2<', '<vcpu>0<'))).toContain('0 virtual CPUs');
  });
});
