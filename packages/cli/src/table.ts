/** Lays out tables and fields as plain aligned text, made safe for a terminal. Widths are those of a terminal. */
import { visible } from './escape.ts';

export type Tone = 'good' | 'warn' | 'bad' | 'dim' | 'bold';
export type Cell = string | { readonly text: string; readonly tone: Tone };

/** What people see: a command gives blocks, and the printer lays them out. */
export type Block =
  | {
      readonly kind: 'table';
      readonly title?: string;
      readonly columns: readonly string[];
      readonly rows: readonly (readonly Cell[])[];
      /** A line of its own below a row, by the row's place. */
      readonly below?: readonly (Cell | undefined)[];
      /** Said instead of a table without rows; when empty, nothing is. */
      readonly empty: string;
    }
  | {
      readonly kind: 'fields';
      readonly title?: string;
      readonly fields: readonly (readonly [label: string, value: Cell])[];
    }
  | { readonly kind: 'lines'; readonly lines: readonly Cell[] };

const toneCodes = { good: 32, warn: 33, bad: 31, dim: 2, bold: 1 } as const satisfies Record<Tone, number>;

/** The blocks as text, each line ended. */
export function layOut(blocks: readonly Block[], colour: boolean): string {
  const paint = painter(colour);
  const parts = blocks.map((block) => {
    switch (block.kind) {
      case 'table':
        return tableLines(block, paint);
      case 'fields':
        return fieldLines(block, paint);
      case 'lines':
        return block.lines.map((line) => paint(line, 0));
    }
  });
  return parts
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.map((line) => `${line.trimEnd()}\n`).join(''))
    .join('\n');
}

type Paint = (cell: Cell, columns: number) => string;

function painter(colour: boolean): Paint {
  return (cell, columns) => {
    const text = visible(typeof cell === 'string' ? cell : cell.text);
    const padding = ' '.repeat(Math.max(0, columns - columnsOf(text)));
    if (typeof cell === 'string' || !colour) return text + padding;
    return `\x1b[${toneCodes[cell.tone]}m${text}\x1b[0m${padding}`;
  };
}

function tableLines(block: Extract<Block, { kind: 'table' }>, paint: Paint): string[] {
  if (block.rows.length === 0) return block.empty === '' ? [] : [block.empty];
  const header: readonly Cell[] = block.columns.map((text) => ({ text, tone: 'dim' }));
  const rows = [header, ...block.rows];
  const widths = block.columns.map((_, at) => Math.max(...rows.map((row) => cellColumns(row[at] ?? ''))));
  const indent = block.title === undefined ? '' : '  ';
  const lines = rows.flatMap((row, at) => {
    const below = at === 0 ? undefined : block.below?.[at - 1];
    const line = indent + row.map((cell, column) => paint(cell, widths[column] ?? 0)).join('  ');
    return below === undefined ? [line] : [line, indent + paint(below, 0)];
  });
  return block.title === undefined ? lines : [paint({ text: block.title, tone: 'bold' }, 0), ...lines];
}

function fieldLines(block: Extract<Block, { kind: 'fields' }>, paint: Paint): string[] {
  if (block.fields.length === 0) return [];
  const width = Math.max(...block.fields.map(([label]) => columnsOf(label))) + 2;
  const indent = block.title === undefined ? '' : '  ';
  const lines = block.fields.map(([label, value]) => {
    return indent + paint({ text: label, tone: 'dim' }, width) + paint(value, 0);
  });
  return block.title === undefined ? lines : [paint({ text: block.title, tone: 'bold' }, 0), ...lines];
}

function cellColumns(cell: Cell): number {
  return columnsOf(visible(typeof cell === 'string' ? cell : cell.text));
}

const wide =
  /\p{Emoji_Presentation}|[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|[\u{20000}-\u{3fffd}]/u;
const zeroWidth = /\p{M}/u;

/** Terminal columns that safe text takes: two for East Asian wide characters and emoji, none for combining marks. */
export function columnsOf(text: string): number {
  if (/^[\x20-\x7e]*$/.test(text)) return text.length;
  let columns = 0;
  for (const character of text) columns += zeroWidth.test(character) ? 0 : wide.test(character) ? 2 : 1;
  return columns;
}
