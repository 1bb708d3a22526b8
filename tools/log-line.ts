// Turns one line of wirtd's JSON log into one that people read: time, level, message, the rest as key=value, and an
// error's stack below. A line that is no JSON object is left as it is.
import { styleText } from 'node:util';

const levels: Record<number, { name: string; style: Parameters<typeof styleText>[0] }> = {
  10: { name: 'trace', style: 'gray' },
  20: { name: 'debug', style: 'gray' },
  30: { name: 'info ', style: 'green' },
  40: { name: 'warn ', style: 'yellow' },
  50: { name: 'ERROR', style: 'red' },
  60: { name: 'FATAL', style: 'red' },
};

/** The readable form; with colours when `coloured`. */
export function readableLine(line: string, coloured: boolean): string {
  const record = parseRecord(line);
  if (!record) return line;
  const { time, level, msg, pid: _pid, hostname: _hostname, err, ...rest } = record;
  const { name, style } = levels[Number(level)] ?? { name: String(level), style: 'gray' as const };
  const paint = (how: Parameters<typeof styleText>[0], text: string): string =>
    coloured ? styleText(how, text, { validateStream: false }) : text;
  const pairs = Object.entries(rest).map(([key, value]) => paint('gray', `${key}=${inWords(value)}`));
  const stack = stackOf(err);
  const words = [
    paint('gray', clock(time)),
    paint(style, name),
    typeof msg === 'string' ? msg : '',
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
  const { stack } = (error ?? {}) as { stack?: unknown };
  return typeof stack === 'string' ? stack : inWords(error);
}
