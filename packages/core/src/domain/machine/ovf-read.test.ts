import { WirtError } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import type { ImportNote } from './notes.ts';
import { readOvf } from './ovf-read.ts';

const head = `<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
  xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
  xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"
  xmlns:vmw="http://www.vmware.com/schema/ovf" xmlns:vbox="http://www.virtualbox.org/ovf/machine"
  xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">`;

const streamOptimized = 'http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized';

function item(fields: Record<string, string | number>, attributes = '', extra = ''): string {
  const inner = Object.entries(fields).map(([name, value]) => `<rasd:${name}>${value}</rasd:${name}>`);
  return `<Item ${attributes}>${inner.join('')}${extra}</Item>`;
}

const cpu = item({ InstanceID: 1, ResourceType: 3, VirtualQuantity: 2, AllocationUnits: 'hertz * 10^6' });
const memory = item({
  InstanceID: 2,
  ResourceType: 4,
  VirtualQuantity: 1024,
  AllocationUnits: 'byte * 2^20',
});
const disk = item({ InstanceID: 9, ResourceType: 17, Parent: 3, HostResource: 'ovf:/disk/vmdisk1' });
const oneFile = '<File ovf:id="file1" ovf:href="web-disk1.vmdk" ovf:size="1000"/>';
const oneDisk = `<Disk ovf:diskId="vmdisk1" ovf:fileRef="file1" ovf:capacity="8" ovf:capacityAllocationUnits="byte * 2^30" ovf:format="${streamOptimized}"/>`;

interface Parts {
  files?: string;
  disks?: string;
  items?: string;
  hardware?: string;
  system?: string;
  type?: string;
  envelope?: string;
}

function ovf({
  files = oneFile,
  disks = oneDisk,
  items = disk,
  hardware = '',
  system = '',
  type = 'vmx-13',
  envelope = '',
}: Parts = {}): string {
  return `${head}<References>${files}</References><DiskSection><Info>x</Info>${disks}</DiskSection>${envelope}
    <VirtualSystem ovf:id="web"><Info>x</Info><Name>web</Name>
    <VirtualHardwareSection><Info>x</Info><System><vssd:ElementName>x</vssd:ElementName><vssd:InstanceID>0</vssd:InstanceID>
    <vssd:VirtualSystemType>${type}</vssd:VirtualSystemType></System>${cpu}${memory}${items}${hardware}</VirtualHardwareSection>
    ${system}</VirtualSystem></Envelope>`;
}

const scsi = (subType: string): string =>
  item({ InstanceID: 3, ResourceType: 6, ResourceSubType: subType, Address: 0 });

function noteOf(notes: readonly ImportNote[], setting: string): ImportNote | undefined {
  return notes.find((each) => each.setting.includes(setting));
}

function refusal(text: string): string {
  try {
    readOvf(text);
  } catch (error) {
    if (error instanceof WirtError) return `${error.code} ${error.message}`;
    throw error;
  }
  return 'read';
}

describe('an OVF of VMware', () => {
  it('becomes a machine with its processors, memory, disks and NICs', () => {
    const nic = item(
      {
        InstanceID: 11,
        ResourceType: 10,
        ResourceSubType: 'VmxNet3',
        Connection: 'VM Network',
        AddressOnParent: 7,
        AutomaticAllocation: 'true',
      },
      '',
      '<vmw:Config ovf:required="false" vmw:key="wakeOnLanEnabled" vmw:value="true"/>',
    );
    const { notes, ...draft } = readOvf(
      ovf({
        items: scsi('VirtualSCSI') + disk + nic,
        hardware: '<vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>',
        system: '<AnnotationSection><Info>x</Info><Annotation>The shop</Annotation></AnnotationSection>',
      }),
    );
    expect(draft).toEqual({
      name: 'web',
      description: 'The shop',
      cpus: 2,
      memoryMib: 1024,
      firmware: 'uefi',
      machine: 'q35',
      disks: [
        {
          key: 'disk1',
          device: 'disk',
          source: { kind: 'file', name: 'web-disk1.vmdk' },
          format: 'vmdk',
          sizeBytes: 8 * 2 ** 30,
          bus: 'pvscsi',
          readOnly: false,
          bootOrder: 1,
        },
      ],
      nics: [{ model: 'vmxnet3', network: 'VM Network' }],
    });
    expect(notes.map(({ setting, value, effect }) => [effect, setting, value])).toEqual([
      ['changed', 'VirtualHardwareSection/Item[InstanceID=11]/Connection', 'VM Network'],
      ['hint', 'disks', 'pvscsi'],
      ['hint', 'NICs', 'vmxnet3'],
      ['changed', 'VirtualHardwareSection/System/VirtualSystemType', 'vmx-13'],
      ['dropped', 'VirtualHardwareSection/Item[InstanceID=11]/vmw:Config[wakeOnLanEnabled]', 'true'],
    ]);
  });

  it.each([
    ['VirtualSCSI', 'pvscsi'],
    ['lsilogicsas', 'lsi'],
    ['lsilogic', 'lsi'],
    ['virtioscsi', 'virtio-scsi'],
    ['buslogic', 'sata'],
  ])('keeps disks of a %s controller on a bus that the guest knows: %s', (subType, bus) => {
    expect(readOvf(ovf({ items: scsi(subType) + disk })).disks[0]?.bus).toBe(bus);
  });

  it('says on which bus drives of an IDE controller are now, and nothing of a controller without drives', () => {
    const ide = (id: number): string => item({ InstanceID: id, ResourceType: 5, Address: 0 });
    const { disks, notes } = readOvf(ovf({ items: ide(3) + ide(4) + disk }));
    expect(disks[0]?.bus).toBe('sata');
    expect(notes.filter(({ reason }) => reason.includes('IDE')).map(({ setting }) => setting)).toEqual([
      'VirtualHardwareSection/Item[InstanceID=3]',
    ]);
  });

  it('boots in the order that VMware has', () => {
    const cd = item({ InstanceID: 8, ResourceType: 15, Parent: 3 });
    const system =
      '<vmw:BootOrderSection vmw:instanceId="8" vmw:type="cdrom"><Info>x</Info></vmw:BootOrderSection><vmw:BootOrderSection vmw:instanceId="9" vmw:type="disk"><Info>x</Info></vmw:BootOrderSection>';
    const { disks } = readOvf(ovf({ items: disk + cd, system }));
    expect(disks.map(({ device, bootOrder }) => [device, bootOrder])).toEqual([
      ['disk', 2],
      ['cdrom', 1],
    ]);
  });

  it('has the hardware of its default deployment option, in the order of the file', () => {
    const options =
      '<DeploymentOptionSection><Info>x</Info><Configuration ovf:id="small"><Label>Small</Label></Configuration><Configuration ovf:id="big" ovf:default="true"><Label>Big</Label></Configuration></DeploymentOptionSection>';
    const of = (option: string, cpus: number): string =>
      item({ InstanceID: 1, ResourceType: 3, VirtualQuantity: cpus }, `ovf:configuration="${option}"`);
    const { cpus, notes } = readOvf(ovf({ envelope: options, items: of('small', 1) + of('big', 8) + disk }));
    expect(cpus).toBe(8);
    expect(noteOf(notes, 'Configuration[big]')).toMatchObject({ effect: 'changed', value: 'big: Big' });
  });

  it('says that a TPM, files without a drive, and properties stay behind, and hides passwords', () => {
    const tpm = item({
      InstanceID: 20,
      ResourceType: 1,
      ResourceSubType: 'vmware.vtpm',
      ElementName: 'Virtual TPM',
    });
    const system =
      '<ProductSection><Info>x</Info><Property ovf:key="admin-password" ovf:value="hunter2"/><Property ovf:key="dns" ovf:value="10.0.0.1"/><Property ovf:key="key" ovf:password="true" ovf:value="hunter3"/></ProductSection>';
    const files = `${oneFile}<File ovf:id="file2" ovf:href="web.nvram"/>`;
    const { notes } = readOvf(ovf({ items: disk + tpm, system, files }));
    expect(noteOf(notes, 'Item[InstanceID=20]')).toMatchObject({
      effect: 'dropped',
      value: 'Virtual TPM: vmware.vtpm',
    });
    expect(noteOf(notes, 'References/File[file2]')?.value).toContain('web.nvram');
    expect(noteOf(notes, 'Property[dns]')?.value).toBe('10.0.0.1');
    expect(noteOf(notes, 'Property[admin-password]')?.value).toBe('***');
    expect(JSON.stringify(notes)).not.toContain('hunter');
  });

  it('makes new disks where only a size is given, as many as there are drives', () => {
    const disks =
      '<Disk ovf:diskId="vmdisk1" ovf:capacity="${size}" ovf:capacityAllocationUnits="MegaBytes"/>';
    const again = item({ InstanceID: 10, ResourceType: 17, HostResource: 'ovf:/disk/vmdisk1' });
    const system =
      '<ProductSection><Info>x</Info><Property ovf:key="size" ovf:value="100"/></ProductSection>';
    const draft = readOvf(ovf({ files: '', disks, items: disk + again, system }));
    const source = { kind: 'empty', sizeBytes: 100 * 2 ** 20 };
    expect(draft.disks.map((each) => each.source)).toEqual([source, source]);
  });
});

describe('an OVF of VirtualBox', () => {
  const machine = `<vbox:Machine ovf:required="false" version="1.19" name="web" xmlns="http://www.virtualbox.org/"><Hardware>
    <Firmware type="EFI"/><Boot><Order position="1" device="DVD"/><Order position="2" device="HardDisk"/></Boot>
    <Network><Adapter slot="0" enabled="false" MACAddress="080027000000"/><Adapter slot="1" enabled="true" MACAddress="080027ABCDEF" type="82540EM"/></Network>
    <AudioAdapter enabled="true"/><Clipboard mode="Disabled"/></Hardware></vbox:Machine>`;

  it('has firmware, MAC addresses and boot order from VirtualBox’s own part', () => {
    const nic = item({ InstanceID: 7, ResourceType: 10, ResourceSubType: 'E1000', Connection: 'NAT' });
    const cd = item({ InstanceID: 8, ResourceType: 15, Parent: 3 });
    const draft = readOvf(ovf({ type: 'virtualbox-2.2', items: disk + cd + nic, system: machine }));
    expect(draft).toMatchObject({ firmware: 'uefi', nics: [{ model: 'e1000', mac: '08:00:27:ab:cd:ef' }] });
    expect(draft.disks.map(({ bootOrder }) => bootOrder)).toEqual([2, 1]);
    expect(noteOf(draft.notes, 'AudioAdapter')?.effect).toBe('dropped');
    expect(draft.notes.find(({ setting }) => setting === 'vbox:Machine')?.value).toBe('Clipboard');
  });
});

describe('an OVF of oVirt', () => {
  it('is read with its typed sections and its own words', () => {
    const typed = `<ovf:Envelope xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1/" xmlns:rasd="r" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" ovf:version="0.9">
      <References><File ovf:href="group/image" ovf:id="image" ovf:size="10"/></References>
      <Section xsi:type="ovf:DiskSection_Type"><Info>x</Info><Disk ovf:diskId="d1" ovf:fileRef="image" ovf:parentRef="" ovf:capacity="1073741824" ovf:volume-format="COW" ovf:disk-interface="VirtIO_SCSI" ovf:format="http://www.vmware.com/specifications/vmdk.html#sparse"/></Section>
      <Content ovf:id="out" xsi:type="ovf:VirtualSystem_Type"><Name>vm</Name><BiosType>3</BiosType>
      <Section xsi:type="ovf:VirtualHardwareSection_Type"><Info>x</Info>
      <Item><rasd:InstanceId>1</rasd:InstanceId><rasd:ResourceType>3</rasd:ResourceType><rasd:num_of_sockets>2</rasd:num_of_sockets><rasd:cpu_per_socket>3</rasd:cpu_per_socket></Item>
      <Item><rasd:InstanceId>2</rasd:InstanceId><rasd:ResourceType>4</rasd:ResourceType><rasd:AllocationUnits>MegaBytes</rasd:AllocationUnits><rasd:VirtualQuantity>512</rasd:VirtualQuantity></Item>
      <Item><rasd:InstanceId>3</rasd:InstanceId><rasd:ResourceType>17</rasd:ResourceType><rasd:HostResource>group/image</rasd:HostResource><Type>disk</Type><BootOrder>1</BootOrder></Item>
      <Item><rasd:InstanceId>4</rasd:InstanceId><rasd:ResourceType>20</rasd:ResourceType><Type>video</Type></Item>
      <Item><rasd:InstanceId>5</rasd:InstanceId><rasd:ResourceType>10</rasd:ResourceType><rasd:ResourceSubType>3</rasd:ResourceSubType><rasd:MACAddress>00:1a:4a:16:21:a2</rasd:MACAddress></Item>
      </Section></Content></ovf:Envelope>`;
    const { notes, ...draft } = readOvf(typed);
    expect(draft).toMatchObject({ name: 'vm', cpus: 6, memoryMib: 512, firmware: 'uefi' });
    expect(draft.disks).toEqual([
      {
        key: 'disk1',
        device: 'disk',
        source: { kind: 'file', name: 'group/image' },
        format: 'qcow2',
        sizeBytes: 2 ** 30,
        bus: 'virtio-scsi',
        readOnly: false,
        bootOrder: 1,
      },
    ]);
    expect(draft.nics).toEqual([{ model: 'virtio', mac: '00:1a:4a:16:21:a2' }]);
    expect(noteOf(notes, 'Item[InstanceID=4]')?.effect).toBe('dropped');
  });
});

describe('an OVF is refused', () => {
  it.each([
    ['/etc/passwd'],
    ['../web.vmdk'],
    ['a/../../web.vmdk'],
    ['%2e%2e/web.vmdk'],
    ['%2Fetc%2Fpasswd'],
    ['https://example.org/web.vmdk'],
    ['file:///etc/passwd'],
    ['..\\web.vmdk'],
    ['./web.vmdk'],
    ['a//b'],
    [''],
  ])('when it names the file %j', (href) => {
    const text = ovf({ files: `<File ovf:id="file1" ovf:href="${href}"/>` });
    expect(refusal(text)).toMatch(
      /^import\.malformed The OVF names the file .* no plain name inside its package/,
    );
  });

  it('also for a file that no drive has', () => {
    expect(refusal(ovf({ files: `${oneFile}<File ovf:id="x" ovf:href="../x"/>` }))).toMatch(
      /^import\.malformed/,
    );
  });

  it('when it has several machines, by their names', () => {
    const two = `${head}<VirtualSystemCollection ovf:id="all"><VirtualSystem ovf:id="a"><Name>shop</Name></VirtualSystem><VirtualSystem ovf:id="db"/></VirtualSystemCollection></Envelope>`;
    expect(refusal(two)).toBe('import.unsupported The OVF has 2 machines, not one: shop, db.');
  });

  it.each([
    ['two files of one id', { files: oneFile + oneFile.replace('web', 'other') }, 'two files "file1"'],
    [
      'one file under two ids',
      { files: oneFile + oneFile.replace('file1', 'file2') },
      'names the file "web-disk1.vmdk" twice',
    ],
    ['two disks of one id', { disks: oneDisk + oneDisk }, 'two disks "vmdisk1"'],
    [
      'two drives with one disk',
      { items: disk + disk.replace('>9<', '>10<') },
      'two drives with the same disk',
    ],
    ['a drive with no disk', { disks: '' }, 'and no such disk or file'],
    ['a disk with no file', { files: '' }, 'which is not listed'],
    ['a capacity without end', { disks: oneDisk.replace('="8"', '="99999999999999"') }, 'which cannot be'],
    ['a capacity that is no number', { disks: oneDisk.replace('="8"', '="-8"') }, 'which is no whole number'],
    ['units that are none', { disks: oneDisk.replace('byte * 2^30', 'parsec') }, 'no unit of bytes'],
    ['chunks', { files: oneFile.replace('/>', ' ovf:chunkSize="100"/>') }, 'cut into chunks'],
    [
      'another compression',
      { files: oneFile.replace('/>', ' ovf:compression="bzip2"/>') },
      'only gzip is read',
    ],
    ['a disk with a parent', { disks: oneDisk.replace('/>', ' ovf:parentRef="vmdisk0"/>') }, 'Merge|parent'],
    ['more drives than a guest can have', { items: item({ ResourceType: 15 }).repeat(25) }, 'at most 24'],
  ] as const)('for %s', (_what, parts, sentence) => {
    expect(refusal(ovf(parts))).toMatch(/^import\.(malformed|unsupported) /);
    expect(refusal(ovf(parts))).toMatch(new RegExp(sentence));
  });

  it('without processors, memory, hardware or a machine', () => {
    expect(refusal(ovf().replace(cpu, ''))).toContain('how many virtual CPUs');
    expect(refusal(ovf().replace(memory, ''))).toContain('how much memory');
    expect(refusal(ovf().replaceAll('VirtualHardwareSection', 'Other'))).toContain(
      'nothing of the machine’s hardware',
    );
    expect(refusal(`${head}</Envelope>`)).toContain('no machine');
    expect(refusal('<domain/>')).toContain('begins with <domain>');
  });
});
