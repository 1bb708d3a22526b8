import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DraftDisk, DraftNic, DriveBus, MachineDraft } from './draft.ts';
import { readLibvirt } from './libvirt-read.ts';
import { writeLibvirt } from './libvirt-write.ts';
import { readOvf } from './ovf-read.ts';
import { writeOvf } from './ovf-write.ts';

const nicModels = ['virtio', 'e1000e', 'e1000', 'vmxnet3', 'rtl8139'] as const;
const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,10}[a-z0-9]$/);
const description = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 60 })
  .map(cleaned)
  .filter((text) => text !== '');

/** As a draft has it: no control characters but line ends and tabs, and nothing around. */
function cleaned(text: string): string {
  return text.replaceAll(/[^\P{C}\n\t]/gu, '').trim();
}

interface Saying {
  readonly buses: readonly DriveBus[];
  readonly folder: string;
  readonly formats: readonly NonNullable<DraftDisk['format']>[];
  /** Whether read-only disks and serial numbers can be said. */
  readonly details: boolean;
}

function drafts(saying: Saying): fc.Arbitrary<MachineDraft> {
  const disk = fc.record({
    size: fc.integer({ min: 1, max: 2 ** 45 }),
    format: fc.constantFrom(...saying.formats),
    bus: fc.constantFrom(...saying.buses),
    readOnly: saying.details ? fc.boolean() : fc.constant(false),
    serial: saying.details ? fc.option(fc.stringMatching(/^[A-Z0-9]{1,20}$/)) : fc.constant(null),
    cd: fc.constantFrom('no', 'no', 'empty', 'iso'),
  });
  const nic = fc.record({
    mac: fc.option(fc.stringMatching(/^02(:[0-9a-f]{2}){5}$/)),
    model: fc.constantFrom(...nicModels),
    network: fc.stringMatching(/^[A-Za-z0-9]([A-Za-z0-9&<"-]{0,10}[A-Za-z0-9])?$/),
  });
  return fc
    .record({
      name,
      description: fc.option(description),
      cpus: fc.integer({ min: 1, max: 4096 }),
      memoryMib: fc.integer({ min: 32, max: 67_108_864 }),
      firmware: fc.constantFrom('bios' as const, 'uefi' as const),
      disks: fc.array(disk, { maxLength: 20 }),
      nics: fc.array(nic, { maxLength: 8 }),
      order: fc.infiniteStream(fc.nat()),
    })
    .map(({ description: text, disks, nics, order, ...rest }): MachineDraft => {
      const drives = disks.map(({ cd, size, serial, ...each }, index): DraftDisk => {
        const key = `${cd === 'no' ? 'disk' : 'cdrom'}${index + 1}`;
        const file = { kind: 'file', name: `${saying.folder}${key}.${each.format}` } as const;
        if (cd === 'empty')
          return { key, device: 'cdrom', source: { kind: 'none' }, bus: 'sata', readOnly: true };
        const number = serial === null ? {} : { serial };
        if (cd === 'iso') {
          return {
            key,
            device: 'cdrom',
            source: file,
            format: 'raw',
            bus: 'sata',
            readOnly: true,
            ...number,
          };
        }
        return {
          key,
          device: 'disk',
          source: file,
          ...each,
          ...number,
          ...(saying.details ? {} : { sizeBytes: size }),
        };
      });
      const cards = nics.map(({ mac, ...each }): DraftNic => ({ ...each, ...(mac === null ? {} : { mac }) }));
      return {
        ...rest,
        ...(text === null ? {} : { description: text }),
        machine: 'q35',
        ...ordered(drives, cards, order),
        notes: [],
      };
    });
}

/** Half of the devices in some order, and always one: without any, a reader takes the usual order. */
function ordered(
  disks: DraftDisk[],
  nics: DraftNic[],
  order: Iterator<number>,
): Pick<MachineDraft, 'disks' | 'nics'> {
  const drawn = [...disks, ...nics].map((device) => ({ device, draw: order.next().value as number }));
  const chosen = drawn
    .filter(({ draw }, index) => index === 0 || draw % 2 === 0)
    .toSorted((a, b) => a.draw - b.draw);
  const places = new Map<DraftDisk | DraftNic, number>(
    chosen.map(({ device }, index) => [device, index + 1]),
  );
  const placed = <T extends DraftDisk | DraftNic>(device: T): T => {
    const bootOrder = places.get(device);
    return bootOrder === undefined ? device : { ...device, bootOrder };
  };
  return { disks: disks.map(placed), nics: nics.map(placed) };
}

const sizes = new Map<string, number>();

describe('a machine written and read again', () => {
  it('is the same through libvirt, in all that libvirt can say', () => {
    const saying: Saying = {
      buses: ['virtio', 'virtio-scsi', 'sata', 'pvscsi', 'lsi'],
      folder: '/var/lib/images/a b&c/',
      formats: ['qcow2', 'raw', 'vmdk', 'vpc', 'vhdx', 'vdi'],
      details: true,
    };
    fc.assert(
      fc.property(drafts(saying), (draft) => {
        expect({ ...readLibvirt(writeLibvirt(draft).xml), notes: [] }).toEqual(draft);
      }),
    );
  });

  it('is the same through OVF, in all that OVF can say', () => {
    const saying: Saying = {
      buses: ['virtio', 'virtio-scsi', 'sata', 'nvme', 'pvscsi', 'lsi'],
      folder: '',
      formats: ['vmdk', 'qcow2', 'raw', 'vpc', 'vhdx', 'vdi'],
      details: false,
    };
    fc.assert(
      fc.property(drafts(saying), (draft) => {
        expect({ ...readOvf(writeOvf(draft, { sizes }).xml), notes: [] }).toEqual(draft);
      }),
    );
  });

  it('has from its own OVF no hints about drivers that it never lacked', () => {
    fc.assert(
      fc.property(drafts({ buses: ['virtio'], folder: '', formats: ['vmdk'], details: false }), (draft) => {
        const { notes } = readOvf(writeOvf(draft, { sizes }).xml);
        expect(notes.filter(({ effect }) => effect === 'hint')).toEqual([]);
      }),
    );
  });
});
