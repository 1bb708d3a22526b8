// OVAs built by hand, so that they can be wrong in every way: a ustar archive of entries as they are given, and an OVF
// with one disk. Source: POSIX.1-2017, pax, "ustar Interchange Format"; DMTF DSP0243.
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';

const blockBytes = 512;

export interface TarEntry {
  readonly name: string;
  readonly content?: Uint8Array;
  /** `0` a file, `1` a hard link, `2` a symbolic link, `3` a character device, `5` a directory. */
  readonly type?: '0' | '1' | '2' | '3' | '5';
  readonly link?: string;
}

function header({ name, content = new Uint8Array(), type = '0', link = '' }: TarEntry): Buffer {
  const bytes = Buffer.alloc(blockBytes);
  const octal = (value: number, at: number, length: number): void =>
    void bytes.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1');
  bytes.write(name, 0);
  octal(0o644, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(content.length, 124, 12);
  octal(0, 136, 12);
  bytes.write(type, 156);
  bytes.write(link, 157);
  bytes.write('ustar\x0000', 257, 'latin1');
  // The sum is made with spaces in its own place.
  bytes.fill(' ', 148, 156);
  octal(
    bytes.reduce((sum, byte) => sum + byte, 0),
    148,
    7,
  );
  return bytes;
}

export async function writeTar(path: string, entries: readonly TarEntry[]): Promise<void> {
  const pieces = entries.flatMap((entry) => {
    const content = Buffer.from(entry.content ?? new Uint8Array());
    const padding = Buffer.alloc((blockBytes - (content.length % blockBytes)) % blockBytes);
    return [header(entry), content, padding];
  });
  await writeFile(path, Buffer.concat([...pieces, Buffer.alloc(2 * blockBytes)]));
}

const namespaces = `xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
  xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
  xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"
  xmlns:vmw="http://www.vmware.com/schema/ovf"`;

function item(fields: Readonly<Record<string, string | number>>): string {
  const inner = Object.entries(fields).map(([name, value]) => `<rasd:${name}>${value}</rasd:${name}>`);
  return `<Item>${inner.join('')}</Item>`;
}

/** As VMware writes it: a machine of one disk on a paravirtual SCSI controller, one vmxnet3 NIC, and what nobody knows. */
export function ovf(options: {
  readonly name: string;
  readonly disk: string;
  readonly diskBytes: number;
}): Buffer {
  const { name, disk, diskBytes } = options;
  const format = 'http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized';
  const hardware = [
    item({ InstanceID: 1, ResourceType: 3, VirtualQuantity: 2, AllocationUnits: 'hertz * 10^6' }),
    item({ InstanceID: 2, ResourceType: 4, VirtualQuantity: 128, AllocationUnits: 'byte * 2^20' }),
    item({ InstanceID: 3, ResourceType: 6, ResourceSubType: 'VirtualSCSI', Address: 0 }),
    item({ InstanceID: 9, ResourceType: 17, Parent: 3, HostResource: 'ovf:/disk/vmdisk1' }),
    item({ InstanceID: 11, ResourceType: 10, ResourceSubType: 'VmxNet3', Connection: 'VM Network' }),
    item({ InstanceID: 12, ResourceType: 24, AutomaticAllocation: 'false' }),
  ].join('\n      ');
  return Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>
<Envelope ${namespaces}>
  <References><File ovf:id="file1" ovf:href="${disk}"/></References>
  <DiskSection><Info>Disks</Info>
    <Disk ovf:diskId="vmdisk1" ovf:fileRef="file1" ovf:capacity="${diskBytes}" ovf:format="${format}"/>
  </DiskSection>
  <VirtualSystem ovf:id="${name}"><Info>A machine</Info><Name>${name}</Name>
    <VirtualHardwareSection><Info>Hardware</Info>
      <System><vssd:ElementName>x</vssd:ElementName><vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemType>vmx-13</vssd:VirtualSystemType></System>
      ${hardware}
      <vmw:ExtraConfig ovf:required="false" vmw:key="svga.autodetect" vmw:value="true"/>
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
`);
}

/** The text of a manifest, with the digests of these files. */
export function manifest(files: Readonly<Record<string, Uint8Array>>): Buffer {
  const lines = Object.entries(files).map(
    ([name, content]) => `SHA256(${name})= ${createHash('sha256').update(content).digest('hex')}\n`,
  );
  return Buffer.from(lines.join(''));
}
