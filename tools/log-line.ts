// Turns one line of wirtd's JSON log into one that people read: time, level, event, the rest as key=value, and an
// error's stack below. A line that is no JSON object is left as it is.
import { styleText } from 'node:util';

type Style = Parameters<typeof styleText>[0];

const levels: Record<string, { name: string; style: Style }> = {
  trace: { name: 'trace', style: 'gray' },
  debug: { name: 'debug', style: 'gray' },
  info: { name: 'info ', style: 'green' },
  warn: { name: 'warn ', style: 'yellow' },
  error: { name: 'ERROR', style: 'red' },
  fatal: { name: 'FATAL', style: 'red' },
};

/** The readable form; with colours when `coloured`. */
export function readableLine(line: string, coloured: boolean): string {
  const record = parseRecord(line);
  if (!record) return line;
  const { time, level, event, error, ...rest } = record;
  const { name, style } = levels[String(level)] ?? { name: String(level), style: 'gray' as const };
  const paint = (how: Style, text: string): string =>
    coloured ? styleText(how, text, { validateStream: false }) : text;
  const pairs = Object.entries(rest).map(([key, value]) => paint('gray', `${key}=${inWords(value)}`));
  const stack = stackOf(error);
  const words = [
    paint('gray', clock(time)),
    paint(style, name),
    typeof event === 'string' ? event : '',
    ...pairs,
  ];
  return words.join(' ') + (stack === '' ? '' : `\n${paint('gray', stack.replace(/^/gm, '    '))}`);
}

function parseRecord(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    const value: unknown = JSON.parse(line);
    return value !== null && typeof value === 'object' && 'level' in value ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

function clock(time: unknown): string {
  const date = new Date(typeof time === 'string' || typeof time === 'number' ? time : Number.NaN);
  return Number.isNaN(date.getTime()) ? '--:--:--.---' : date.toISOString().slice(11, 23);
}

function inWords(value: unknown): string {
  if (typeof value === 'string') return /[\s"=]/.test(value) || value === '' ? JSON.stringify(value) : value;
  return JSON.stringify(value) ?? 'undefined';
}

function stackOf(error: unknown): string {
  if (error === undefined) return '';
  const { stack, message, code, cause } = (error ?? {}) as Record<string, unknown>;
  const said =
    typeof stack === 'string'
      ? stack
      : typeof message === 'string'
        ? `${message} [${String(code)}]`
        : inWords(error);
  return cause === undefined ? said : `${said}\ncaused by: ${stackOf(cause)}`;
}
