import { describe, expect, it } from 'vitest';
import type { MachineDraft } from './draft.ts';
import { writeLibvirt } from './libvirt-write.ts';
import { writeOvf } from './ovf-write.ts';

const draft: MachineDraft = {
  name: 'web',
  description: 'Shop <"1">',
  cpus: 2,
  memoryMib: 512,
  firmware: 'uefi',
  machine: 'q35',
  disks: [
    {
      key: 'root',
      device: 'disk',
      source: { kind: 'file', name: 'root.vmdk' },
      format: 'vmdk',
      sizeBytes: 1_048_576,
      bus: 'virtio',
      readOnly: false,
      bootOrder: 1,
    },
    {
      key: 'data',
      device: 'disk',
      source: { kind: 'file', name: 'data.vmdk' },
      format: 'vmdk',
      bus: 'pvscsi',
      readOnly: true,
      serial: 'S1',
    },
    {
      key: 'seed',
      device: 'cdrom',
      source: { kind: 'file', name: 'seed.iso' },
      format: 'raw',
      bus: 'sata',
      readOnly: true,
    },
  ],
  nics: [{ mac: '02:00:00:00:00:01', model: 'virtio', network: 'lan' }],
  notes: [],
};

describe('a machine written for others', () => {
  it('is an OVF with what VMware and VirtualBox know', () => {
    const { xml, notes } = writeOvf(draft, { sizes: new Map([['root.vmdk', 70_000]]) });
    expect(xml).toMatchInlineSnapshot(`
      "<?xml version="1.0" encoding="UTF-8"?>
      <Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData" xmlns:vmw="http://www.vmware.com/schema/ovf" xmlns:wirt="urn:wirt:ovf:1" ovf:version="1.0" xml:lang="en-US">
        <References>
          <File ovf:href="root.vmdk" ovf:id="file1" ovf:size="70000"/>
          <File ovf:href="data.vmdk" ovf:id="file2"/>
          <File ovf:href="seed.iso" ovf:id="file3"/>
        </References>
        <DiskSection>
          <Info>The disks of the machine</Info>
          <Disk ovf:capacity="1048576" ovf:capacityAllocationUnits="byte" ovf:diskId="vmdisk1" ovf:fileRef="file1" ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
          <Disk ovf:diskId="vmdisk2" ovf:fileRef="file2" ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
        </DiskSection>
        <NetworkSection>
          <Info>The networks of the machine</Info>
          <Network ovf:name="lan">
            <Description>The network lan</Description>
          </Network>
        </NetworkSection>
        <VirtualSystem ovf:id="web">
          <Info>A virtual machine</Info>
          <Name>web</Name>
          <OperatingSystemSection ovf:id="102" vmw:osType="otherGuest64">
            <Info>The guest operating system</Info>
          </OperatingSystemSection>
          <VirtualHardwareSection wirt:exportedBy="wirt">
            <Info>The virtual hardware of the machine</Info>
            <System>
              <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
              <vssd:InstanceID>0</vssd:InstanceID>
              <vssd:VirtualSystemIdentifier>web</vssd:VirtualSystemIdentifier>
              <vssd:VirtualSystemType>vmx-10</vssd:VirtualSystemType>
            </System>
            <Item>
              <rasd:AllocationUnits>hertz * 10^6</rasd:AllocationUnits>
              <rasd:Description>Number of virtual CPUs</rasd:Description>
              <rasd:ElementName>2 virtual CPUs</rasd:ElementName>
              <rasd:InstanceID>1</rasd:InstanceID>
              <rasd:ResourceType>3</rasd:ResourceType>
              <rasd:VirtualQuantity>2</rasd:VirtualQuantity>
            </Item>
            <Item>
              <rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits>
              <rasd:Description>Memory size</rasd:Description>
              <rasd:ElementName>512 MiB of memory</rasd:ElementName>
              <rasd:InstanceID>2</rasd:InstanceID>
              <rasd:ResourceType>4</rasd:ResourceType>
              <rasd:VirtualQuantity>512</rasd:VirtualQuantity>
            </Item>
            <Item>
              <rasd:Address>0</rasd:Address>
              <rasd:ElementName>SATA controller</rasd:ElementName>
              <rasd:InstanceID>3</rasd:InstanceID>
              <rasd:ResourceSubType>AHCI</rasd:ResourceSubType>
              <rasd:ResourceType>20</rasd:ResourceType>
            </Item>
            <Item>
              <rasd:Address>0</rasd:Address>
              <rasd:ElementName>SCSI controller</rasd:ElementName>
              <rasd:InstanceID>4</rasd:InstanceID>
              <rasd:ResourceSubType>VirtualSCSI</rasd:ResourceSubType>
              <rasd:ResourceType>6</rasd:ResourceType>
            </Item>
            <Item wirt:bus="virtio" wirt:bootOrder="1">
              <rasd:AddressOnParent>0</rasd:AddressOnParent>
              <rasd:ElementName>root</rasd:ElementName>
              <rasd:HostResource>ovf:/disk/vmdisk1</rasd:HostResource>
              <rasd:InstanceID>5</rasd:InstanceID>
              <rasd:Parent>3</rasd:Parent>
              <rasd:ResourceType>17</rasd:ResourceType>
            </Item>
            <Item>
              <rasd:AddressOnParent>0</rasd:AddressOnParent>
              <rasd:ElementName>data</rasd:ElementName>
              <rasd:HostResource>ovf:/disk/vmdisk2</rasd:HostResource>
              <rasd:InstanceID>6</rasd:InstanceID>
              <rasd:Parent>4</rasd:Parent>
              <rasd:ResourceType>17</rasd:ResourceType>
            </Item>
            <Item>
              <rasd:AddressOnParent>1</rasd:AddressOnParent>
              <rasd:AutomaticAllocation>true</rasd:AutomaticAllocation>
              <rasd:ElementName>seed</rasd:ElementName>
              <rasd:HostResource>ovf:/file/file3</rasd:HostResource>
              <rasd:InstanceID>7</rasd:InstanceID>
              <rasd:Parent>3</rasd:Parent>
              <rasd:ResourceType>15</rasd:ResourceType>
            </Item>
            <Item wirt:model="virtio">
              <rasd:Address>02:00:00:00:00:01</rasd:Address>
              <rasd:AddressOnParent>0</rasd:AddressOnParent>
              <rasd:AutomaticAllocation>true</rasd:AutomaticAllocation>
              <rasd:Connection>lan</rasd:Connection>
              <rasd:ElementName>Network adapter 1</rasd:ElementName>
              <rasd:InstanceID>8</rasd:InstanceID>
              <rasd:ResourceSubType>E1000</rasd:ResourceSubType>
              <rasd:ResourceType>10</rasd:ResourceType>
            </Item>
            <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>
          </VirtualHardwareSection>
          <AnnotationSection ovf:required="false">
            <Info>What the machine is for</Info>
            <Annotation>Shop &lt;&quot;1&quot;&gt;</Annotation>
          </AnnotationSection>
        </VirtualSystem>
      </Envelope>
      "
    `);
    expect(notes.map(({ setting, value, effect }) => `${effect} ${setting} ${value}`)).toEqual([
      'hint firmware uefi',
      'dropped disk data: read-only yes',
      'dropped disk data: serial number S1',
      'changed disk root virtio',
      'changed NIC 1 virtio',
    ]);
  });

  // Domains like this one, with every bus and model, BIOS and UEFI, were defined and started by libvirt 9.0.
  it('is a domain for libvirt', () => {
    const { xml, notes } = writeLibvirt(draft);
    expect(xml).toMatchInlineSnapshot(`
      "<?xml version="1.0" encoding="UTF-8"?>
      <domain type="kvm">
        <name>web</name>
        <description>Shop &lt;&quot;1&quot;&gt;</description>
        <memory unit="MiB">512</memory>
        <vcpu>2</vcpu>
        <os firmware="efi">
          <type arch="x86_64" machine="q35">hvm</type>
        </os>
        <features>
          <acpi/>
          <apic/>
        </features>
        <cpu mode="host-passthrough"/>
        <clock offset="utc"/>
        <on_poweroff>destroy</on_poweroff>
        <on_reboot>restart</on_reboot>
        <devices>
          <controller type="scsi" index="1" model="vmpvscsi"/>
          <disk type="file" device="disk">
            <driver name="qemu" type="vmdk"/>
            <source file="root.vmdk"/>
            <target dev="vda" bus="virtio"/>
            <boot order="1"/>
            <alias name="ua-root"/>
          </disk>
          <disk type="file" device="disk">
            <driver name="qemu" type="vmdk"/>
            <source file="data.vmdk"/>
            <target dev="sda" bus="scsi"/>
            <readonly/>
            <serial>S1</serial>
            <alias name="ua-data"/>
            <address type="drive" controller="1" bus="0" target="0" unit="0"/>
          </disk>
          <disk type="file" device="cdrom">
            <driver name="qemu" type="raw"/>
            <source file="seed.iso"/>
            <target dev="sdb" bus="sata"/>
            <readonly/>
            <alias name="ua-seed"/>
            <address type="drive" controller="0" bus="0" target="0" unit="0"/>
          </disk>
          <interface type="network">
            <mac address="02:00:00:00:00:01"/>
            <source network="lan"/>
            <model type="virtio"/>
          </interface>
          <serial type="pty">
            <target port="0"/>
          </serial>
          <console type="pty">
            <target type="serial" port="0"/>
          </console>
          <channel type="unix">
            <target type="virtio" name="org.qemu.guest_agent.0"/>
          </channel>
        </devices>
      </domain>
      "
    `);
    expect(notes).toEqual([]);
  });

  it('tells what libvirt cannot say', () => {
    const disks: MachineDraft['disks'] = [
      { key: 'new', device: 'disk', source: { kind: 'empty', sizeBytes: 5 }, bus: 'sata', readOnly: false },
      {
        key: 'fast',
        device: 'disk',
        source: { kind: 'file', name: '/a' },
        format: 'raw',
        bus: 'nvme',
        readOnly: false,
      },
    ];
    const { xml, notes } = writeLibvirt({ ...draft, disks });
    expect(xml).not.toContain('nvme');
    expect(notes.map(({ setting, value, effect }) => `${effect} ${setting} ${value}`)).toEqual([
      'dropped disk new 5 bytes',
      'changed disk fast nvme',
    ]);
  });
});
