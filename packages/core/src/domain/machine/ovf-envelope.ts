/**
 * What an OVF envelope has around its machine: files, disks, networks, deployment options, and which virtual system is
 * meant. OVF 1.x and 2.x (DMTF DSP0243), and 0.9 with its typed sections, which oVirt writes to this day.
 */
import { WirtError } from '@wirt/api';
import type { DiskFormat } from './draft.ts';
import { printable } from './notes.ts';
import { bytesOf, ovfUnitBytes, wholeNumber } from './quantity.ts';
import type { XmlElement } from './xml.ts';
import {
  attribute,
  child,
  children,
  peekAttribute,
  peekText,
  type Reading,
  settingOf,
  textOf,
} from './xml-reading.ts';

export interface OvfFile {
  readonly element: XmlElement;
  readonly name: string;
  readonly compression?: 'gzip';
}

export interface OvfDisk {
  readonly element: XmlElement;
  readonly id: string;
  readonly fileRef?: string;
}

export interface OvfEnvelope {
  readonly reading: Reading;
  readonly system: XmlElement;
  readonly files: ReadonlyMap<string, OvfFile>;
  readonly disks: ReadonlyMap<string, OvfDisk>;
  /** The default of each property that the product sections have, by key. */
  readonly properties: ReadonlyMap<string, string>;
}

/** `DiskSection` for that element, and for `<Section xsi:type="ovf:DiskSection_Type">` of OVF 0.9. */
export function sectionKind(element: XmlElement): string {
  if (element.local !== 'Section' && element.local !== 'Content') return element.local;
  const type = peekAttribute(element, 'type') ?? '';
  return type.replace(/^.*:/, '').replace(/_Type$/, '');
}

export function sections(reading: Reading, parent: XmlElement, kind: string): XmlElement[] {
  const found = parent.children.filter((each) => sectionKind(each) === kind);
  for (const each of found) {
    reading.seen.add(each);
    if (each.local !== kind) attribute(reading, each, 'type');
  }
  return found;
}

export function openEnvelope(reading: Reading): OvfEnvelope {
  const { root } = reading;
  if (root.local !== 'Envelope') {
    throw new WirtError(
      'import.malformed',
      `The OVF begins with <${printable(root.name)}> and not with <Envelope>.`,
    );
  }
  attribute(reading, root, 'version');
  const system = theSystem(reading);
  const collections = children(reading, root, 'VirtualSystemCollection');
  const places = [root, ...collections, system];
  return {
    reading,
    system,
    files: readFiles(reading),
    disks: readDisks(reading),
    properties: readProperties(places),
  };
}

function theSystem(reading: Reading): XmlElement {
  const found: XmlElement[] = [];
  const visit = (parent: XmlElement): void => {
    for (const each of parent.children) {
      const kind = sectionKind(each);
      if (kind === 'VirtualSystem') found.push(each);
      else if (kind === 'VirtualSystemCollection') visit(each);
    }
  };
  visit(reading.root);
  const [system, ...others] = found;
  if (system === undefined)
    throw new WirtError('import.malformed', 'The OVF has no machine (no VirtualSystem).');
  if (others.length > 0) {
    const names = found.map((each) => peekText(each, 'Name') ?? peekAttribute(each, 'id') ?? '?');
    const shown = printable(names.slice(0, 20).join(', '), 400);
    throw new WirtError('import.unsupported', `The OVF has ${found.length} machines, not one: ${shown}.`, {
      hint: 'Export each machine into an OVF of its own.',
      details: { machines: names.slice(0, 100).map((name) => printable(name)) },
    });
  }
  reading.seen.add(system);
  if (system.local !== 'VirtualSystem') attribute(reading, system, 'type');
  return system;
}

function readFiles(reading: Reading): ReadonlyMap<string, OvfFile> {
  const files = new Map<string, OvfFile>();
  const names = new Set<string>();
  const references = child(reading, reading.root, 'References');
  for (const element of references?.children.filter(({ local }) => local === 'File') ?? []) {
    const id = peekAttribute(element, 'id') ?? '';
    const name = packageFile(peekAttribute(element, 'href') ?? '');
    if (files.has(id)) throw new WirtError('import.malformed', `The OVF has two files "${printable(id)}".`);
    if (names.has(name)) {
      throw new WirtError('import.malformed', `The OVF names the file "${printable(name)}" twice.`);
    }
    names.add(name);
    files.set(id, { element, name, ...compressionOf(element, name) });
  }
  return files;
}

function compressionOf(element: XmlElement, name: string): { compression?: 'gzip' } {
  const compression = (peekAttribute(element, 'compression') ?? '').toLowerCase();
  if (Number(peekAttribute(element, 'chunkSize') ?? 0) > 0) {
    const message = `The file "${printable(name)}" of the OVF is cut into chunks, which is not read.`;
    throw new WirtError('import.unsupported', message, {
      hint: 'Export without chunks; with ovftool, leave out --chunkSize.',
    });
  }
  if (compression === '' || compression === 'identity') return {};
  if (compression === 'gzip') return { compression };
  const message = `The file "${printable(name)}" of the OVF is compressed with ${printable(compression)}; only gzip is read.`;
  throw new WirtError('import.unsupported', message);
}

/** A file of the package by its href: relative and inside. `import.malformed` for everything else. */
export function packageFile(href: string): string {
  for (const name of memberNames(href)) {
    const bad =
      name === '' ||
      name.length > 1_024 ||
      /^[a-z][a-z0-9+.-]*:/i.test(name) ||
      /[\\\p{C}]/u.test(name) ||
      name.split('/').some((step) => step === '' || step === '.' || step === '..');
    if (bad) {
      const message = `The OVF names the file "${printable(href)}", which is no plain name inside its package.`;
      throw new WirtError('import.malformed', message);
    }
  }
  return href;
}

/** Names under which the package may have the file: as written, and with `%20` and the like taken as a URI has them. */
export function memberNames(href: string): string[] {
  try {
    return [...new Set([href, decodeURIComponent(href)])];
  } catch {
    return [href];
  }
}

function readDisks(reading: Reading): ReadonlyMap<string, OvfDisk> {
  const disks = new Map<string, OvfDisk>();
  for (const section of sections(reading, reading.root, 'DiskSection')) {
    for (const element of section.children.filter(({ local }) => local === 'Disk')) {
      const id = peekAttribute(element, 'diskId') ?? '';
      const fileRef = peekAttribute(element, 'fileRef') || undefined;
      if (disks.has(id)) throw new WirtError('import.malformed', `The OVF has two disks "${printable(id)}".`);
      disks.set(id, { element, id, ...(fileRef === undefined ? {} : { fileRef }) });
    }
  }
  return disks;
}

function readProperties(places: readonly XmlElement[]): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  for (const place of places) {
    for (const section of place.children.filter((each) => sectionKind(each) === 'ProductSection')) {
      for (const property of section.children.filter(({ local }) => local === 'Property')) {
        const value = peekAttribute(property, 'value');
        const key = peekAttribute(property, 'key');
        if (key !== undefined && value !== undefined) values.set(key, value);
      }
    }
  }
  return values;
}

/** The stated capacity, marked; undefined when none is stated, or only by a property without a value. */
export function capacityBytes(envelope: OvfEnvelope, { element }: OvfDisk): number | undefined {
  const { reading, properties } = envelope;
  let text = attribute(reading, element, 'capacity');
  const units = attribute(reading, element, 'capacityAllocationUnits') ?? 'byte';
  const reference = /^\$\{(.*)\}$/.exec(text ?? '');
  if (reference !== null) text = properties.get(reference[1] ?? '');
  if (text === undefined || text === '') return undefined;
  const what = `The capacity at ${settingOf(reading, element)}`;
  const unit = ovfUnitBytes(units);
  if (unit === undefined) {
    throw new WirtError(
      'import.malformed',
      `${what} is in "${printable(units)}", which is no unit of bytes.`,
    );
  }
  return bytesOf(wholeNumber(text, what), unit, what);
}

const isoFormat = /ecma-international.*119|iso-?9660/i;
const formats: readonly (readonly [pattern: RegExp, format: DiskFormat | 'iso'])[] = [
  [isoFormat, 'iso'],
  [/vmdk/i, 'vmdk'],
  [/qcow/i, 'qcow2'],
  [/linkid=137171|vhd-?x/i, 'vpc'],
  [/\bvhd\b/i, 'vpc'],
  [/\bvdi\b/i, 'vdi'],
];

/** The format by its URI, marked; of oVirt's, whose URI says nothing, by `volume-format`. */
export function diskFormat(reading: Reading, element: XmlElement): DiskFormat | 'iso' | undefined {
  const uri = attribute(reading, element, 'format') ?? '';
  const volume = attribute(reading, element, 'volume-format')?.toUpperCase();
  if (volume === 'RAW') return 'raw';
  if (volume === 'COW') return 'qcow2';
  if (/vhdx/i.test(uri)) return 'vhdx';
  return formats.find(([pattern]) => pattern.test(uri))?.[1];
}

/** The deployment option that is in force when none is chosen: the one marked, or the first. */
export function defaultConfiguration(
  reading: Reading,
): { id: string; label: string; element: XmlElement } | undefined {
  const all = sections(reading, reading.root, 'DeploymentOptionSection').flatMap((section) =>
    children(reading, section, 'Configuration'),
  );
  const chosen = all.find((each) => peekAttribute(each, 'default') === 'true') ?? all[0];
  for (const each of all) {
    attribute(reading, each, 'id');
    attribute(reading, each, 'default');
    for (const text of ['Label', 'Description']) textOf(reading, child(reading, each, text));
  }
  if (chosen === undefined) return undefined;
  const id = peekAttribute(chosen, 'id') ?? '';
  return { id, label: peekText(chosen, 'Label') ?? id, element: chosen };
}
