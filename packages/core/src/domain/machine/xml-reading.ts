/**
 * Reading an XML tree so that nothing goes unsaid: whoever looks at an element, attribute or text marks it as read, and
 * what is left at the end becomes notes. A reader therefore cannot forget a setting; it can only fail to carry it over.
 */
import {
  hiddenValue,
  type ImportNote,
  isSecret,
  type Leftover,
  maxValueLength,
  note,
  notesOf,
  type Reason,
} from './notes.ts';
import type { XmlAttribute, XmlElement } from './xml.ts';

export interface Reading {
  readonly root: XmlElement;
  readonly notes: ImportNote[];
  readonly seen: Set<XmlElement | XmlAttribute>;
  readonly textSeen: Set<XmlElement>;
  readonly places: ReadonlyMap<XmlElement, Place>;
}

interface Place {
  readonly parent?: XmlElement;
  readonly label: string;
}

/** How an element is told from its sisters; `count` and `index` (from 1) are among those of the same name. */
export type Label = (element: XmlElement, index: number, count: number) => string;

export const indexLabel: Label = ({ name }, index, count) => (count > 1 ? `${name}[${index}]` : name);

export function startReading(root: XmlElement, label: Label = indexLabel): Reading {
  const places = new Map<XmlElement, Place>([[root, { label: '' }]]);
  const visit = (parent: XmlElement): void => {
    const counts = new Map<string, number>();
    for (const { name } of parent.children) counts.set(name, (counts.get(name) ?? 0) + 1);
    const indexes = new Map<string, number>();
    for (const child of parent.children) {
      const index = (indexes.get(child.name) ?? 0) + 1;
      indexes.set(child.name, index);
      places.set(child, { parent, label: label(child, index, counts.get(child.name) ?? 1) });
      visit(child);
    }
  };
  visit(root);
  return { root, notes: [], seen: new Set([root]), textSeen: new Set(), places };
}

/** Where the element is, from below the root: `devices/disk[2]/driver`. */
export function settingOf(reading: Reading, element: XmlElement): string {
  const labels: string[] = [];
  let at: XmlElement | undefined = element;
  while (at !== undefined) {
    const place: Place | undefined = reading.places.get(at);
    if (place?.label) labels.unshift(place.label);
    at = place?.parent;
  }
  return labels.join('/');
}

/** All children of that local name, marked. */
export function children(reading: Reading, parent: XmlElement | undefined, local: string): XmlElement[] {
  const found = (parent?.children ?? []).filter((each) => each.local === local);
  for (const each of found) reading.seen.add(each);
  return found;
}

/** The first child of that local name, marked; further ones stay unread. */
export function child(
  reading: Reading,
  parent: XmlElement | undefined,
  local: string,
): XmlElement | undefined {
  const found = parent?.children.find((each) => each.local === local);
  if (found !== undefined) reading.seen.add(found);
  return found;
}

/** The value of the attribute of that local name, marked. */
export function attribute(
  reading: Reading,
  element: XmlElement | undefined,
  local: string,
): string | undefined {
  const found = element?.attributes.find((each) => each.local === local);
  if (found !== undefined) reading.seen.add(found);
  return found?.value;
}

/** The element's own text, trimmed and marked. */
export function textOf(reading: Reading, element: XmlElement | undefined): string | undefined {
  if (element === undefined) return undefined;
  reading.textSeen.add(element);
  return element.text.trim();
}

/** The text of the first child of that name. */
export function childText(
  reading: Reading,
  parent: XmlElement | undefined,
  local: string,
): string | undefined {
  return textOf(reading, child(reading, parent, local));
}

/** The same without marking anything. */
export function peekText(parent: XmlElement, ...locals: string[]): string | undefined {
  return parent.children.find((each) => locals.includes(each.local))?.text.trim();
}

export function peekAttribute(element: XmlElement | undefined, local: string): string | undefined {
  return element?.attributes.find((each) => each.local === local)?.value;
}

/** Marks the element with everything in it: it says what Wirt does anyway, or a note has told of it. */
export function pass(reading: Reading, element: XmlElement | undefined): void {
  if (element === undefined) return;
  reading.seen.add(element);
  reading.textSeen.add(element);
  for (const each of element.attributes) reading.seen.add(each);
  for (const each of element.children) pass(reading, each);
}

/** Marks the element and all below it that have children, so that their leaves are told one by one. */
export function openBranches(reading: Reading, element: XmlElement): void {
  if (element.children.length === 0) return;
  reading.seen.add(element);
  for (const each of element.children) openBranches(reading, each);
}

/** A note about the whole element, which is then read. */
export function tell(
  reading: Reading,
  element: XmlElement,
  reason: string,
  effect: ImportNote['effect'],
  value?: string,
): void {
  reading.notes.push(note(settingOf(reading, element), value ?? describe(element), reason, effect));
  pass(reading, element);
}

/** An element in one line, cut: `type=pci managed=yes source(address(domain=0x0000 …`. */
export function describe(element: XmlElement): string {
  const words: string[] = [];
  let room = maxValueLength * 2;
  const add = (word: string): void => {
    words.push(word);
    room -= word.length + 1;
  };
  const visit = (each: XmlElement): void => {
    const key = peekAttribute(each, 'key');
    const named = key ?? peekAttribute(each, 'name') ?? '';
    const isEntry = each === element && key !== undefined;
    const secret = isSecret(each.name) || isSecret(named) || isTrue(each, 'password');
    const text = each.text.trim().slice(0, maxValueLength + 1);
    if (text !== '') add(secret ? hiddenValue : text);
    for (const { local, value } of each.attributes) {
      if (room < 0) return;
      if (local === 'required' || (isEntry && local === 'key')) continue;
      const hidden = isSecret(local) || (secret && (local === 'value' || local === 'password'));
      const shown = hidden ? hiddenValue : value.slice(0, maxValueLength + 1);
      add(isEntry && local === 'value' ? shown : `${local}=${shown}`);
    }
    for (const inner of each.children) {
      if (room < 0) return;
      if (inner.local === 'Info') continue;
      add(`${inner.local}(`);
      visit(inner);
      add(')');
    }
  };
  visit(element);
  return words.join(' ').replaceAll('( ', '(').replaceAll(' )', ')').replaceAll('()', '');
}

function isTrue(element: XmlElement, local: string): boolean {
  return element.attributes.some((each) => each.local === local && each.value === 'true');
}

/** What a table says of a path without indexes, such as `devices/disk/driver/@cache`. */
export type Explain = (path: string, element: XmlElement, attribute?: XmlAttribute) => Reason | 'nothing';

/** Everything that was not read, as notes. `nothing`: it is no setting, such as a comment in a field of its own. */
export function unread(reading: Reading, explain: Explain): readonly ImportNote[] {
  const found: Leftover[] = [];
  const add = (element: XmlElement, kind: string, value: string, attribute?: XmlAttribute): void => {
    const because = explain(kind, element, attribute);
    if (because === 'nothing') return;
    const place = settingOf(reading, element);
    const end = attribute === undefined ? '' : `${place === '' ? '' : '/'}@${attribute.name}`;
    const short =
      attribute === undefined
        ? shortName(element)
        : `${element.local}@${attribute.name}=${value.slice(0, maxValueLength)}`;
    found.push({ setting: `${place}${end}`, kind, value, short, because });
  };
  const visit = (element: XmlElement, kind: string): void => {
    const inside = kind === '' ? '' : `${kind}/`;
    for (const each of element.attributes) {
      if (reading.seen.has(each)) continue;
      add(element, `${inside}@${each.name}`, isSecret(each.local) ? hiddenValue : each.value, each);
    }
    if (!reading.textSeen.has(element) && element.text.trim() !== '') {
      add(element, `${inside}text()`, isSecret(element.name) ? hiddenValue : element.text);
    }
    for (const each of element.children) {
      const path = `${inside}${each.name}`;
      if (reading.seen.has(each)) visit(each, path);
      else add(each, path, describe(each));
    }
  };
  visit(reading.root, '');
  return notesOf(found);
}

/** `controller`, `timer hpet`, or `cpuHotAddEnabled=false` for elements that are a key and a value. */
function shortName(element: XmlElement): string {
  const named = peekAttribute(element, 'key') ?? peekAttribute(element, 'name');
  const value = peekAttribute(element, 'value') ?? peekAttribute(element, 'state') ?? element.text.trim();
  if (value === '') return named === undefined ? element.local : `${element.local} ${named}`;
  const key = named ?? element.local;
  return `${key}=${isSecret(key) || isTrue(element, 'password') ? hiddenValue : value.slice(0, maxValueLength)}`;
}

/** A row of a table of reasons: a path, of which `*` stands for one step, and everything below it. */
export type ReasonRow = readonly [path: string, reason: Reason];

/** The reason of the longest path that fits; the first step of a row is never `*`. */
export function reasonFinder(rows: readonly ReasonRow[]): (path: string) => Reason | undefined {
  const known = Map.groupBy(
    rows.map(([path, reason]) => ({ steps: path.split('/'), reason })),
    ({ steps }) => steps[0],
  );
  return (path) => {
    const steps = path.split('/');
    let best: { readonly steps: readonly string[]; readonly reason: Reason } | undefined;
    for (const row of known.get(steps[0]) ?? []) {
      const fits =
        row.steps.length <= steps.length && row.steps.every((step, at) => step === '*' || step === steps[at]);
      if (fits && row.steps.length >= (best?.steps.length ?? 0)) best = row;
    }
    return best?.reason;
  };
}
