/** Rows of `wirt top` before they are laid out, and how they are fitted into the width of a terminal. */
import { visible } from '../escape.ts';
import { columnsOf, type Tone } from '../table.ts';

export const partKinds = ['disk', 'nic', 'vcpu'] as const;
export type PartKind = (typeof partKinds)[number];

export interface TopCell {
  readonly text: string;
  readonly tone?: Tone;
}

export interface TopRow {
  readonly name: string;
  readonly cells: readonly TopCell[];
  /** Marked: its QEMU did not answer. */
  readonly stale: boolean;
}

export interface TopHead {
  readonly title: string;
  /** Of its cells, at least. */
  readonly width: number;
}

export interface Room {
  readonly columns: number;
  readonly colour: boolean;
}

/** The header and a line for each row, none wider than there is room. */
export function layOutRows(heads: readonly TopHead[], rows: readonly TopRow[], room: Room): string[] {
  const widths = heads.map(({ title, width }, at) =>
    Math.max(width, title.length, ...rows.map(({ cells }) => cells[at]?.text.length ?? 0)),
  );
  const taken = widths.reduce((total, width) => total + width + 1, 0);
  const longest = Math.max(8, ...rows.map(({ name }) => columnsOf(visible(name)) + 1));
  const nameWidth = Math.max(6, Math.min(longest, room.columns - taken));
  const line = (name: TopCell, cells: readonly TopCell[]): string =>
    clipped(
      [
        { ...name, text: fit(name.text, nameWidth) },
        ...cells.map((cell, at) => padded(cell, widths[at] ?? 0)),
      ],
      room,
    );
  return [
    line(
      { text: 'NAME', tone: 'dim' },
      heads.map(({ title }) => ({ text: title, tone: 'dim' })),
    ),
    ...rows.map(({ name, cells, stale }) =>
      line(stale ? { text: `~${name}`, tone: 'dim' } : { text: name }, cells),
    ),
  ];
}

function padded({ text, tone }: TopCell, width: number): TopCell {
  return { text: text.padStart(width), ...(tone && { tone }) };
}

/** Safe for a terminal, in exactly so many of its columns; what is cut ends in an ellipsis. */
export function fit(text: string, width: number): string {
  const safe = visible(text);
  const all = columnsOf(safe);
  if (all <= width) return safe + ' '.repeat(width - all);
  let cut = '';
  for (const character of safe) {
    if (columnsOf(cut + character) > width - 1) break;
    cut += character;
  }
  return `${cut}…${' '.repeat(Math.max(0, width - 1 - columnsOf(cut)))}`;
}

const toneCodes = { good: 32, warn: 33, bad: 31, dim: 2, bold: 1 } as const satisfies Record<Tone, number>;

/** A line that wrapped would push the others out: columns that do not fit are left out. */
function clipped(cells: readonly TopCell[], { columns, colour }: Room): string {
  let [left, line] = [columns, ''];
  for (const { text, tone } of cells) {
    const piece = line === '' ? text : ` ${text}`;
    if (columnsOf(piece) > left) break;
    left -= columnsOf(piece);
    line += colour && tone !== undefined ? `\x1b[${toneCodes[tone]}m${piece}\x1b[0m` : piece;
  }
  return line.trimEnd();
}
