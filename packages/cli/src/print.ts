/** The printer: commands return data, and this prints it as `--output` asks. It alone decides what a terminal gets. */
import { isUnsafe, visibleJson } from './escape.ts';
import { type Output, write } from './io.ts';
import { type Block, layOut } from './table.ts';

export const outputKinds = ['table', 'json', 'yaml', 'name'] as const;
export type OutputKind = (typeof outputKinds)[number];

/** What a command has found: the same thing for programs and for people. */
export interface View {
  /** For `json` and `yaml`: the records of the API as they are. */
  readonly data: unknown;
  /** For `name`, one per line. */
  readonly names: readonly string[];
  /** For `table`. */
  readonly table: () => readonly Block[];
}

export interface PrintOptions {
  readonly output: OutputKind;
  readonly colour: boolean;
}

export async function printView(stream: Output, view: View, options: PrintOptions): Promise<void> {
  await write(stream, await render(view, options));
}

export async function render(view: View, { output, colour }: PrintOptions): Promise<string> {
  switch (output) {
    case 'table':
      return layOut(view.table(), colour);
    case 'json':
      return jsonText(view.data);
    case 'yaml':
      return yamlText(view.data);
    case 'name':
      return layOut([{ kind: 'lines', lines: view.names }], false);
  }
}

/** Indented JSON, ended by a newline. */
export function jsonText(data: unknown): string {
  return `${visibleJson(JSON.stringify(data ?? null, null, 2))}\n`;
}

/** JSON on one line, for streams. */
export function jsonLine(data: unknown): string {
  return `${visibleJson(JSON.stringify(data))}\n`;
}

/** Strings that could act on a terminal are double-quoted, where YAML knows JSON's escapes. */
export async function yamlText(data: unknown): Promise<string> {
  // A CommonJS package: bundled, it has its names below `default` only.
  const { Document, Scalar, visit } = (await import('yaml')).default;
  const document = new Document(data ?? null, { aliasDuplicateObjects: false });
  visit(document, {
    Scalar(_, node) {
      if (typeof node.value === 'string' && isUnsafe(node.value)) node.type = Scalar.QUOTE_DOUBLE;
    },
  });
  return visibleJson(document.toString({ lineWidth: 0 }));
}

/** Whether to colour what goes to the stream (https://no-color.org). */
export function wantsColour(stream: Output, env: Readonly<Record<string, string | undefined>>): boolean {
  return stream.isTTY === true && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb';
}
