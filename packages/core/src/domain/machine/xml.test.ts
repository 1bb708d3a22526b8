import { WirtError } from '@wirt/api';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeText, element, parseXml, renderXml, type XmlElement, xmlLimits } from './xml.ts';

function refusal(text: string): string {
  try {
    parseXml(text, 'The file');
  } catch (error) {
    if (error instanceof WirtError) return `${error.code} ${error.message}`;
    throw error;
  }
  return 'read';
}

describe('the XML tree', () => {
  it('has names with and without prefix, attributes, text and lines', () => {
    const root = parseXml(
      '<a xmlns:x="urn:x" b="1">\n t<x:c x:d="&lt;2&#10;"/>u<![CDATA[<v>]]></a>',
      'The file',
    );
    expect(root).toMatchObject({ name: 'a', local: 'a', text: '\n tu<v>', line: 1 });
    expect(root.attributes).toEqual([{ name: 'b', local: 'b', uri: '', value: '1' }]);
    expect(root.children[0]).toMatchObject({ name: 'x:c', local: 'c', uri: 'urn:x', line: 2 });
    expect(root.children[0]?.attributes[0]).toMatchObject({ name: 'x:d', local: 'd', value: '<2\n' });
  });

  it('keeps digits as they are written', () => {
    expect(parseXml('<a>007</a>', 'The file').text).toBe('007');
  });

  it('says in which line the file is not well-formed', () => {
    expect(refusal('<a>\n<b>\n</a>')).toMatch(/^import\.malformed The file, line 3: /);
    expect(refusal('')).toMatch(/^import\.malformed/);
    expect(refusal('<a/><b/>')).toMatch(/^import\.malformed/);
    expect(refusal('<a b=1/>')).toMatch(/^import\.malformed/);
  });

  it('refuses a billion laughs, and any DOCTYPE', () => {
    const laughs = '<!DOCTYPE a [<!ENTITY l "ha"><!ENTITY m "&l;&l;&l;">]><a>&m;</a>';
    expect(refusal(laughs)).toBe(
      'import.malformed The file, line 1: a DOCTYPE is not allowed, nor entities of its own',
    );
    expect(refusal('<!DOCTYPE a><a/>')).toContain('DOCTYPE');
  });

  it('refuses external entities, and entities nobody defined', () => {
    expect(refusal('<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>')).toContain('DOCTYPE');
    expect(refusal('<a>&e;</a>')).toMatch(/^import\.malformed/);
  });

  it('refuses what is too deep, too large, or too many', () => {
    const nested = (depth: number): string => '<a>'.repeat(depth) + '</a>'.repeat(depth);
    expect(refusal(nested(xmlLimits.depth))).toBe('read');
    expect(refusal(nested(xmlLimits.depth + 1))).toContain('nested more than 64 deep');
    expect(refusal(`<a>${'<b/>'.repeat(xmlLimits.elements)}</a>`)).toContain('more than 50000 elements');
    expect(refusal(`<a b="${'x'.repeat(xmlLimits.value + 1)}"/>`)).toContain('the value of b is too long');
    expect(refusal(`<a>${'x'.repeat(xmlLimits.text + 1)}</a>`)).toContain('the text of <a> is too long');
    expect(refusal(`<a>${' '.repeat(xmlLimits.bytes)}</a>`)).toContain('larger than 4 MiB');
    expect(refusal(`<${'n'.repeat(300)}/>`)).toContain('too long');
    const many = Array.from({ length: 300 }, (_, index) => `a${index}="1"`).join(' ');
    expect(refusal(`<a ${many}/>`)).toContain('more than 256 attributes');
  });

  it('refuses an encoding that it does not read, and bytes that are no text', () => {
    expect(refusal('<?xml version="1.0" encoding="ISO-8859-1"?><a/>')).toContain('ISO-8859-1');
    expect(() => decodeText(new Uint8Array([0x3c, 0xff, 0x3e]), 'The file')).toThrow(
      'The file is not text in UTF-8',
    );
    expect(() => decodeText(new Uint8Array(xmlLimits.bytes + 1), 'The file')).toThrow('larger than 4 MiB');
  });

  it('reads UTF-8 and UTF-16 with their marks', () => {
    const utf16 = new Uint8Array([0xff, 0xfe, 0x3c, 0, 0x61, 0, 0x2f, 0, 0x3e, 0]);
    expect(parseXml(decodeText(utf16, 'x'), 'x').name).toBe('a');
    const utf8 = new Uint8Array([0xef, 0xbb, 0xbf, 0x3c, 0x61, 0x2f, 0x3e]);
    expect(parseXml(decodeText(utf8, 'x'), 'x').name).toBe('a');
  });

  it('fails on nothing but what it refuses', () => {
    const pieces = fc.constantFrom(
      '<a',
      '<b',
      '>',
      '/>',
      '</a>',
      '"',
      "'",
      '=',
      ' x',
      '&',
      '&amp;',
      '<!--',
      '-->',
      '<![CDATA[',
      ']]>',
      '<?',
      '?>',
      '<!',
      'xmlns:y="u"',
      'y:',
    );
    const texts = fc.array(fc.oneof(pieces, fc.string({ maxLength: 5 }))).map((all) => all.join(''));
    fc.assert(
      fc.property(texts, (text) => refusal(text) === 'read' || refusal(text).startsWith('import.malformed')),
    );
  });

  it('reads back what it wrote, whatever the text', () => {
    const texts = fc.string({ unit: 'binary', maxLength: 20 });
    fc.assert(
      fc.property(texts, texts, (value, text) => {
        const back: XmlElement = parseXml(
          renderXml(element('a', { b: value, none: undefined }, [element('c', {}, text)])),
          'x',
        );
        const allowed = (each: string): string =>
          each
            .toWellFormed()
            .replaceAll(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '\u{fffd}');
        expect(back.attributes.map((each) => each.value)).toEqual([allowed(value)]);
        expect(back.children[0]?.text).toBe(allowed(text));
      }),
    );
  });
});
