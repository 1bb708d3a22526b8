// What `npm run dev` shows of wirtd's log.
import { describe, expect, it } from 'vitest';
import { readableLine } from './log-line.ts';

const time = '2026-01-02T03:04:05.006Z';

describe('a log line', () => {
  it('shows time, level, event and the other fields', () => {
    const line = JSON.stringify({ level: 'info', time, instance: 'demo', event: 'guest.runs' });
    expect(readableLine(line, false)).toBe('03:04:05.006 info  guest.runs instance=demo');
  });

  it('quotes values that hold spaces and prints objects as JSON', () => {
    const line = JSON.stringify({ level: 'warn', time, event: 'odd', why: 'two words', at: { a: 1 } });
    expect(readableLine(line, false)).toBe('03:04:05.006 warn  odd why="two words" at={"a":1}');
  });

  it('puts the stack and the causes of an error below', () => {
    const line = JSON.stringify({
      level: 'error',
      time,
      event: 'lost',
      error: { stack: 'Error: x\n at y', cause: { message: 'full', code: 'c' } },
    });
    expect(readableLine(line, false)).toBe(
      '03:04:05.006 ERROR lost\n    Error: x\n     at y\n    caused by: full [c]',
    );
  });

  it('is coloured on request only', () => {
    const line = JSON.stringify({ level: 'info', time, event: 'm' });
    expect(readableLine(line, true)).toContain('\u001b[');
    expect(readableLine(line, false)).not.toContain('\u001b[');
  });

  it.each(['plain text', '{"not":"a log"}', '{broken', '[1]', ''])('%j is left as it is', (line) => {
    expect(readableLine(line, true)).toBe(line);
  });
});
