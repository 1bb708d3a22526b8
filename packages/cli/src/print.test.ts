import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { isUnsafe } from './escape.ts';
import { render, type View, wantsColour } from './print.ts';
import { columnsOf } from './table.ts';

const data = [{ name: 'demo', note: '\x1b[31mred\u202e\x85' }];
const view: View = {
  data,
  names: ['demo', 'x\x1b[2J'],
  table: () => [
    {
      kind: 'table',
      columns: ['NAME', 'STATE', 'NOTE'],
      rows: [
        ['世界', { text: 'running', tone: 'good' }, 'a\nb'],
        ['demo-1', 'off', '\x1b]0;title\x07'],
      ],
      empty: 'Nothing.',
    },
    { kind: 'fields', title: 'More', fields: [['Key', 'value'] as const] },
  ],
};

describe('the printer', () => {
  it('aligns tables by what a terminal shows, and escapes every cell', async () => {
    expect(await render(view, { output: 'table', colour: false })).toBe(
      [
        'NAME    STATE    NOTE',
        '世界    running  a\\nb',
        'demo-1  off      \\x1b]0;title\\x07',
        '',
        'More',
        '  Key  value',
        '',
      ].join('\n'),
    );
  });

  it('colours only where asked, and the padding stays plain', async () => {
    const text = await render(view, { output: 'table', colour: true });
    expect(text).toContain('\x1b[32mrunning\x1b[0m  a\\nb');
    expect(text).not.toContain('\x1b]0');
  });

  it('prints JSON and YAML that read back as the same data and hold nothing that acts', async () => {
    const json = await render(view, { output: 'json', colour: false });
    const yaml = await render(view, { output: 'yaml', colour: false });
    expect(JSON.parse(json)).toEqual(data);
    expect(parse(yaml)).toEqual(data);
    for (const text of [json, yaml]) expect(isUnsafe(text.replaceAll('\n', ''))).toBe(false);
  });

  it('prints names one per line', async () => {
    expect(await render(view, { output: 'name', colour: false })).toBe('demo\nx\\x1b[2J\n');
  });

  it('says so when a table has no rows', async () => {
    const empty: View = {
      data: [],
      names: [],
      table: () => [{ kind: 'table', columns: ['A'], rows: [], empty: 'None.' }],
    };
    expect(await render(empty, { output: 'table', colour: false })).toBe('None.\n');
    expect(await render(empty, { output: 'name', colour: false })).toBe('');
    expect(await render(empty, { output: 'json', colour: false })).toBe('[]\n');
  });

  it('colours a terminal unless NO_COLOR or a dumb terminal says otherwise', () => {
    const terminal = { isTTY: true } as Parameters<typeof wantsColour>[0];
    expect(wantsColour(terminal, { TERM: 'xterm' })).toBe(true);
    expect(wantsColour(terminal, { NO_COLOR: '1' })).toBe(false);
    expect(wantsColour(terminal, { TERM: 'dumb' })).toBe(false);
    expect(wantsColour({} as Parameters<typeof wantsColour>[0], {})).toBe(false);
  });

  it('counts two columns for wide characters and none for combining marks', () => {
    expect(['abc', '世界', 'e\u0301', '🚀'].map(columnsOf)).toEqual([3, 4, 1, 2]);
  });
});
