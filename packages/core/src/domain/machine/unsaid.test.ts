import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { WirtError } from '@wirt/api';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { MachineDraft } from './draft.ts';
import { readLibvirt } from './libvirt-read.ts';
import { readManifest } from './manifest.ts';
import { readOvf } from './ovf-read.ts';
import { readXl } from './xl-read.ts';
import { decodeText } from './xml.ts';

const libvirt = `<domain type="kvm"><name>web</name><memory unit="KiB">1048576</memory><vcpu placement="static">2</vcpu>
<os><type arch="x86_64" machine="q35">hvm</type><loader type="pflash">/OVMF.fd</loader><boot dev="hd"/></os>
<features><acpi/><hyperv><relaxed state="on"/></hyperv></features><cpu mode="host-model"><topology sockets="1"/></cpu>
<clock offset="utc"><timer name="rtc"/></clock>
<devices><disk type="file" device="disk"><driver name="qemu" type="raw"/><source file="/a.img"/><target dev="vda" bus="virtio"/><boot order="1"/></disk>
<interface type="user"><mac address="52:54:00:00:00:01"/><model type="virtio"/></interface></devices></domain>`;

const ovf = `<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"><References><File id="f" href="a.vmdk"/></References>
<DiskSection><Disk diskId="d" fileRef="f" capacity="1048576"/></DiskSection>
<VirtualSystem id="web"><Name>web</Name><VirtualHardwareSection><System><VirtualSystemType>vmx-13</VirtualSystemType></System>
<Item><InstanceID>1</InstanceID><ResourceType>3</ResourceType><VirtualQuantity>1</VirtualQuantity></Item>
<Item><InstanceID>2</InstanceID><ResourceType>4</ResourceType><VirtualQuantity>64</VirtualQuantity></Item>
<Item><InstanceID>3</InstanceID><ResourceType>20</ResourceType><ResourceSubType>AHCI</ResourceSubType></Item>
<Item><InstanceID>4</InstanceID><ResourceType>17</ResourceType><Parent>3</Parent><HostResource>ovf:/disk/d</HostResource></Item>
<Item><InstanceID>5</InstanceID><ResourceType>10</ResourceType><ResourceSubType>E1000</ResourceSubType></Item>
</VirtualHardwareSection></VirtualSystem></Envelope>`;

/** The text with an unheard-of setting at every tag in turn: once as an attribute, once as an element inside. */
function planted(text: string): [where: string, text: string][] {
  return [...text.matchAll(/<([A-Za-z]\w*)([^>]*?)(\/?)>/g)].flatMap(
    ([tag, name = '', attributes = '', end = '']) => {
      const at = text.indexOf(tag);
      const put = (instead: string): string => text.slice(0, at) + instead + text.slice(at + tag.length);
      const inside =
        end === '' ? `${tag}<planted x="1"/>` : `<${name}${attributes}><planted x="1"/></${name}>`;
      const all: [string, string][] = [
        [`an attribute of ${tag}`, put(`<${name}${attributes} planted="1"${end}>`)],
        [`an element in ${tag}`, put(inside)],
      ];
      return all;
    },
  );
}

/** What is told as a whole by its name, so that what is inside goes with it. */
const wholes = /<(acpi|relaxed|timer|topology|VirtualSystemType)\b/;

describe('a setting that nobody has heard of', () => {
  it.each(planted(libvirt).filter(([where]) => !wholes.test(where)))(
    'is told of in libvirt XML: %s',
    (_where, text) => {
      const { notes } = readLibvirt(text);
      expect(notes.filter(({ setting, value }) => `${setting} ${value}`.includes('planted'))).toHaveLength(1);
    },
  );

  it.each(planted(ovf).filter(([where]) => !wholes.test(where)))(
    'is told of in an OVF: %s',
    (_where, text) => {
      const { notes } = readOvf(text);
      expect(notes.filter(({ setting, value }) => `${setting} ${value}`.includes('planted'))).toHaveLength(1);
    },
  );

  it('is told of in any number, in notes of a bounded number and length', () => {
    const many = Array.from(
      { length: 20_000 },
      (_each, index) => `<planted${index % 5_000} x="${'y'.repeat(50)}"/>`,
    );
    const { notes } = readLibvirt(libvirt.replace('</devices>', `${many.join('')}</devices>`));
    expect(notes.length).toBeLessThan(1_100);
    expect(notes.some(({ setting }) => /^\d+ more settings$/.test(setting))).toBe(true);
    for (const { value, setting } of notes)
      expect(Math.max(value.length, setting.length)).toBeLessThanOrEqual(200);
  });

  it('has no control characters in its note, wherever they were', () => {
    const hostile = fc.string({ unit: 'binary', maxLength: 10 }).map((text) =>
      text
        .toWellFormed()
        .replaceAll(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd]|[<&"]/gu, '')
        .replaceAll(']]>', ''),
    );
    fc.assert(
      fc.property(hostile, (text) => {
        const put = `<evil a="\u{9b}31m${text}\u{202e}">\u{85}${text}</evil>`;
        for (const note of readLibvirt(libvirt.replace('</devices>', `${put}</devices>`)).notes) {
          expect(note.setting + note.value + note.reason).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/u);
        }
      }),
    );
  });
});

// Real descriptions are not ours to keep in the repository; where a folder of them is at hand, they are read as well.
const folder =
  process.env.WIRT_MACHINE_SAMPLES ?? join(import.meta.dirname, '../../../../../../shared/samples');
const kinds: readonly (readonly [kind: string, read: (text: string) => MachineDraft])[] = [
  ['ovf', readOvf],
  ['libvirt-xml', readLibvirt],
  ['xl-cfg', readXl],
];

function outcome(read: (text: string) => unknown, text: string): string {
  try {
    read(text);
    return 'read';
  } catch (error) {
    if (error instanceof WirtError && error.code.startsWith('import.')) return error.code;
    throw error;
  }
}

describe.skipIf(!existsSync(folder))('real descriptions (needs a folder of samples)', () => {
  it.each(kinds)(
    'of the kind %s are read, or refused with a sentence, also with pieces cut out',
    (kind, read) => {
      const files = readdirSync(join(folder, kind)).map(
        (name) => [name, decodeText(readFileSync(join(folder, kind, name)), name)] as const,
      );
      const outcomes = files.map(([name, text]) => outcome(name.endsWith('.mf') ? readManifest : read, text));
      expect(outcomes.filter((each) => each === 'read').length).toBeGreaterThan(files.length * 0.8);
      for (const [, text] of files.filter(([, each]) => each.length < 20_000)) {
        for (let piece = 0; piece < 8; piece += 1) {
          const at = Math.floor((text.length * piece) / 8);
          outcome(read, text.slice(0, at) + text.slice(at + Math.ceil(text.length / 40)));
          outcome(
            read,
            text.slice(0, at) +
              text
                .slice(at)
                .replace(/"[^"]*"|'[^']*'|>[^<]+</, (whole) => `${whole.slice(0, 1)}-1${whole.slice(-1)}`),
          );
        }
      }
    },
  );
});
