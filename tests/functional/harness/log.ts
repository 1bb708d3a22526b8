// The daemon's log, line by line, as something to wait for.
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';

export interface LogLine {
  readonly event?: string;
  readonly [field: string]: unknown;
}

export interface Log {
  readonly lines: readonly LogLine[];
  /** The first line, old or new, that satisfies `test`. Rejects when the log ends or the deadline passes first. */
  find(test: (line: LogLine) => boolean, what: string): Promise<LogLine>;
}

const deadlineMs = 30_000;

export function readLog(stream: Readable): Log {
  const lines: LogLine[] = [];
  const waiting = new Set<() => void>();
  let ended = false;
  const reader = createInterface({ input: stream });
  reader.on('line', (text) => {
    lines.push(parse(text));
    for (const look of waiting) look();
  });
  reader.on('close', () => {
    ended = true;
    for (const look of waiting) look();
  });
  return {
    lines,
    find: (test, what) =>
      new Promise((resolve, reject) => {
        const give = (outcome: LogLine | Error): void => {
          waiting.delete(look);
          clearTimeout(deadline);
          if (outcome instanceof Error) reject(outcome);
          else resolve(outcome);
        };
        const tail = (): string =>
          lines
            .slice(-8)
            .map((line) => JSON.stringify(line))
            .join('\n');
        const look = (): void => {
          const found = lines.find(test);
          if (found !== undefined) give(found);
          else if (ended) give(new Error(`the log ended without ${what}:\n${tail()}`));
        };
        const deadline = setTimeout(
          () => give(new Error(`no ${what} in the log within ${deadlineMs} ms:\n${tail()}`)),
          deadlineMs,
        );
        waiting.add(look);
        look();
      }),
  };
}

function parse(text: string): LogLine {
  try {
    return JSON.parse(text) as LogLine;
  } catch {
    return { event: text };
  }
}
