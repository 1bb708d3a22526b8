/**
 * Shows how long work goes on: one line that is drawn over on a terminal, plain lines elsewhere. Always on standard
 * error, and only after the work has taken noticeably long, so that quick commands stay silent.
 */

import type { Operation } from '@wirt/api';
import { visible } from './escape.ts';
import type { Output } from './io.ts';
import { columnsOf } from './table.ts';
import { bytesText, durationText } from './units.ts';

export interface Report {
  readonly title: string;
  readonly stage: string;
  readonly progress?: Operation['progress'];
}

export interface Progress {
  report(report: Report): void;
  /** Takes the line away; nothing is shown afterwards. */
  end(): void;
}

export interface ProgressOptions {
  readonly stream: Output;
  readonly now: () => number;
  /** Nothing is shown before. Default 500. */
  readonly silentMs?: number;
}

const barColumns = 24;
/** A shorter bar says nothing. */
const leastBarColumns = 8;
const tickMs = 250;

export function createProgress({ stream, now, silentMs = 500 }: ProgressOptions): Progress {
  const startedMs = now();
  const drawn = stream.isTTY === true;
  let latest: Report | undefined;
  let shown = '';
  const draw = (): void => {
    const elapsedMs = now() - startedMs;
    if (latest === undefined || elapsedMs < silentMs) return;
    if (drawn) {
      const columns = (stream.columns ?? 80) - 1;
      shown = fit(barLine(latest, elapsedMs, columns), columns);
      stream.write(`\r\x1b[K${shown}`);
      return;
    }
    const mark = plainMark(latest);
    if (mark === shown) return;
    shown = mark;
    stream.write(`${plainLine(latest)}\n`);
  };
  const timer = setInterval(draw, tickMs);
  timer.unref();
  return {
    report(report) {
      latest = report;
      draw();
    },
    end() {
      clearInterval(timer);
      latest = undefined;
      if (drawn && shown !== '') stream.write('\r\x1b[K');
    },
  };
}

/** 0 to 1; undefined when the total is not known. */
function share({ progress }: Report): number | undefined {
  if (progress === undefined || !(progress.total > 0)) return undefined;
  return Math.min(1, Math.max(0, progress.done / progress.total));
}

/** One line for a terminal: title, stage, bar, amount, rate, and the time left or else the time taken. */
export function barLine(report: Report, elapsedMs: number, columns = 80): string {
  const part = share(report);
  const head = visible(`${report.title}: ${report.stage}`);
  const tail = `${amount(report)}${leftText(report) ?? ` ${durationText(elapsedMs)}`}`;
  const room = Math.min(barColumns, columns - columnsOf(head) - columnsOf(tail) - ' []'.length);
  if (part === undefined || room < leastBarColumns) return head + tail;
  const filled = Math.round(part * room);
  return `${head} [${'#'.repeat(filled)}${'-'.repeat(room - filled)}]${tail}`;
}

function plainLine(report: Report): string {
  return visible(`${report.title}: ${report.stage}${amount(report)}${leftText(report) ?? ''}`);
}

/** Plain lines come with every stage and every tenth of it. */
function plainMark(report: Report): string {
  return `${report.stage} ${Math.floor((share(report) ?? 0) * 10)}`;
}

function amount(report: Report): string {
  const part = share(report);
  if (part === undefined || report.progress === undefined) return '';
  const { done, total, unit } = report.progress;
  const percent = `${Math.floor(part * 100)} %`;
  return unit === 'bytes' ? ` ${percent} of ${bytesText(total)}` : ` ${done} of ${total}`;
}

/** `, 120 MiB/s, 18 s left`; undefined without a rate. */
function leftText({ progress }: Report): string | undefined {
  if (progress?.unit !== 'bytes' || progress.perSecond === undefined || !(progress.perSecond >= 1))
    return undefined;
  const { done, total, perSecond } = progress;
  const left = total > done ? `, ${durationText(((total - done) / perSecond) * 1000)} left` : '';
  return `, ${bytesText(perSecond)}/s${left}`;
}

function fit(line: string, columns: number): string {
  let fitted = line;
  while (columnsOf(fitted) > columns) fitted = Array.from(fitted).slice(0, -1).join('');
  return fitted;
}
