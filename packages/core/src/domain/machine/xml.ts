/**
 * A small XML tree on saxes, for hostile input: no DOCTYPE and so no entities but the five of XML itself, limits on size,
 * depth, elements, names, values and text, namespaces resolved. Comments and processing instructions are left out.
 */
import { WirtError } from '@wirt/api';
import { SaxesParser, type SaxesTagNS } from 'saxes';
import { printable } from './notes.ts';

export interface XmlAttribute {
  /** As written, with its prefix. */
  readonly name: string;
  readonly local: string;
  readonly uri: string;
  readonly value: string;
}

export interface XmlElement {
  /** As written, with its prefix. */
  readonly name: string;
  readonly local: string;
  readonly uri: string;
  /** Without declarations of namespaces. */
  readonly attributes: readonly XmlAttribute[];
  readonly children: readonly XmlElement[];
  /** The text that is directly in it, outside its children, with CDATA. */
  readonly text: string;
  readonly line: number;
}

interface Growing extends XmlElement {
  readonly children: Growing[];
  text: string;
}

export const xmlLimits = {
  bytes: 4_194_304,
  depth: 64,
  elements: 50_000,
  attributes: 256,
  name: 256,
  value: 65_536,
  text: 1_048_576,
} as const;

/** The text of a file: UTF-8, or UTF-16 where it begins with its mark. `import.malformed` for other or broken bytes. */
export function decodeText(bytes: Uint8Array, what: string): string {
  if (bytes.length > xmlLimits.bytes) throw tooLarge(what);
  const utf16 =
    bytes[0] === 0xff && bytes[1] === 0xfe
      ? 'utf-16le'
      : bytes[0] === 0xfe && bytes[1] === 0xff
        ? 'utf-16be'
        : undefined;
  try {
    return new TextDecoder(utf16 ?? 'utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    const hint = 'Convert the file first: `iconv -f LATIN1 -t UTF-8 FILE > NEW`.';
    throw new WirtError('import.malformed', `${what} is not text in UTF-8.`, { cause, hint });
  }
}

function tooLarge(what: string): WirtError {
  return new WirtError('import.malformed', `${what} is larger than ${xmlLimits.bytes / 1_048_576} MiB.`);
}

/** The root element. `import.malformed` with the line for anything that is not well-formed or breaks a limit. */
export function parseXml(text: string, what: string): XmlElement {
  if (text.length > xmlLimits.bytes) throw tooLarge(what);
  const parser = new SaxesParser({ xmlns: true });
  const fail = (sentence: string): never => {
    throw new WirtError('import.malformed', `${what}, line ${parser.line}: ${printable(sentence, 300)}`);
  };
  const stack: Growing[] = [];
  let root: XmlElement | undefined;
  let elements = 0;
  const addText = (more: string): void => {
    const top = stack.at(-1);
    if (top === undefined) return;
    if (top.text.length + more.length > xmlLimits.text) fail(`the text of <${top.name}> is too long`);
    top.text += more;
  };
  parser.on('error', (error) => fail(error.message.replace(/^[^:]*:\d+:(\d+): /, '')));
  parser.on('doctype', () => fail('a DOCTYPE is not allowed, nor entities of its own'));
  parser.on('xmldecl', ({ encoding }) => {
    if (encoding !== undefined && !/^(utf-?8|utf-?16(le|be)?|us-ascii|ascii)$/i.test(encoding)) {
      fail(`the encoding ${encoding} is not read, only UTF-8 and UTF-16`);
    }
  });
  parser.on('opentag', (tag) => {
    elements += 1;
    if (elements > xmlLimits.elements) fail(`there are more than ${xmlLimits.elements} elements`);
    if (stack.length >= xmlLimits.depth) fail(`elements are nested more than ${xmlLimits.depth} deep`);
    const element = elementOf(tag, parser.line, fail);
    stack.at(-1)?.children.push(element);
    stack.push(element);
    root ??= element;
  });
  parser.on('closetag', () => stack.pop());
  parser.on('text', addText);
  parser.on('cdata', addText);
  parser.write(text).close();
  return root ?? fail('there is no element');
}

function elementOf(tag: SaxesTagNS, line: number, fail: (sentence: string) => never): Growing {
  const all = Object.values(tag.attributes);
  if (all.length > xmlLimits.attributes)
    fail(`<${tag.name}> has more than ${xmlLimits.attributes} attributes`);
  if (tag.name.length > xmlLimits.name) fail(`the name <${printable(tag.name, 40)}> is too long`);
  const attributes: XmlAttribute[] = [];
  for (const { name, local, prefix, uri, value } of all) {
    if (name.length > xmlLimits.name) fail(`the name ${printable(name, 40)} is too long`);
    if (value.length > xmlLimits.value) fail(`the value of ${printable(name, 40)} is too long`);
    if (prefix !== 'xmlns' && name !== 'xmlns') attributes.push({ name, local, uri, value });
  }
  return { name: tag.name, local: tag.local, uri: tag.uri, attributes, children: [], text: '', line };
}

/** An element to be written. */
export interface XmlNode {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string | number | undefined>>;
  readonly children: readonly XmlNode[];
  readonly text?: string;
}

/** `content`: text, or children, of which undefined ones are left out. */
export function element(
  name: string,
  attributes: XmlNode['attributes'],
  content: string | number | readonly (XmlNode | undefined)[] = [],
): XmlNode {
  if (typeof content === 'object') {
    return { name, attributes, children: content.filter((each) => each !== undefined) };
  }
  return { name, attributes, children: [], text: String(content) };
}

/** A whole document in UTF-8. What no XML document may have in its text is written as U+FFFD. */
export function renderXml(root: XmlNode): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n${render(root, '')}`;
}

function render(node: XmlNode, indent: string): string {
  const attributes = Object.entries(node.attributes)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ` ${name}="${escapeXml(String(value))}"`)
    .join('');
  const open = `${indent}<${node.name}${attributes}`;
  if (node.text !== undefined) return `${open}>${escapeXml(node.text)}</${node.name}>\n`;
  if (node.children.length === 0) return `${open}/>\n`;
  const inner = node.children.map((child) => render(child, `${indent}  `)).join('');
  return `${open}>\n${inner}${indent}</${node.name}>\n`;
}

const escapes: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
  '\t': '&#9;',
  '\n': '&#10;',
  '\r': '&#13;',
};

/** For text and for values alike: white space is written so that no reader folds it. */
export function escapeXml(text: string): string {
  return text
    .toWellFormed()
    .replaceAll(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '\u{fffd}')
    .replaceAll(/[&<>"'\t\n\r]/g, (character) => escapes[character] ?? character);
}
