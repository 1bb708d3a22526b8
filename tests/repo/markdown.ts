// Reads what the tests of the documentation need from Markdown: tables, headings, links and inline code, outside of
// fenced code. Not a parser of Markdown: it knows the plain forms that our pages use.

export interface MarkdownTable {
  /** Text of the nearest heading above. */
  readonly heading: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** The lines outside of fenced code, with their numbers from 1; fenced ones are empty, so that numbers hold. */
export function proseLines(text: string): string[] {
  let fenced = false;
  return text.split('\n').map((line) => {
    const isFence = /^\s*(```|~~~)/.test(line);
    if (isFence) fenced = !fenced;
    return fenced || isFence ? '' : line;
  });
}

function cells(line: string): string[] {
  const inner = line.trim().replace(/^\|/, '').replace(/\|$/, '');
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll('\\|', '|'));
}

export function markdownTables(text: string): MarkdownTable[] {
  const tables: { heading: string; head: string[]; rows: string[][] }[] = [];
  let heading = '';
  let open: { heading: string; head: string[]; rows: string[][] } | undefined;
  const lines = proseLines(text);
  lines.forEach((line, at) => {
    const title = /^#+\s+(.*)$/.exec(line)?.[1];
    if (title !== undefined) heading = title;
    if (!line.startsWith('|')) {
      open = undefined;
    } else if (open !== undefined) {
      if (!/^\|[\s:|-]+\|$/.test(line)) open.rows.push(cells(line));
    } else if (/^\|[\s:|-]+\|$/.test(lines[at + 1] ?? '')) {
      open = { heading, head: cells(line), rows: [] };
      tables.push(open);
    }
  });
  return tables;
}

export interface Heading {
  readonly level: number;
  readonly text: string;
}

export function headings(text: string): Heading[] {
  return proseLines(text).flatMap((line) => {
    const [, marks = '', title] = /^(#+)\s+(.*?)\s*$/.exec(line) ?? [];
    return title === undefined ? [] : [{ level: marks.length, text: title }];
  });
}

/** The fragment by which a heading is linked to, as code hosts make it. */
export function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(' ', '-');
}

export interface Link {
  readonly line: number;
  readonly target: string;
}

/** Inline links and images; what stands in inline code is none. */
export function links(text: string): Link[] {
  return proseLines(text).flatMap((line, at) => {
    const plain = line.replaceAll(/`[^`]*`/g, (code) => ' '.repeat(code.length));
    // The text of a link may itself be code, which is blanked by now.
    return [...plain.matchAll(/\]\(([^()\s]+)\)/g)].map(([, target = '']) => ({ line: at + 1, target }));
  });
}

/** Every `code` outside of fences. */
export function inlineCode(text: string): string[] {
  return proseLines(text).flatMap((line) => [...line.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code));
}
