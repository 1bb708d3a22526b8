// What `npm run dev` shows of wirtd's log.
import { describe, expect, it } from 'vitest';
import { readableLine } from './log-line.ts';

const time = Date.UTC(2026, 0, 2, 3, 4, 5, 6);

describe('a log line', () => {
  it('shows time, level, message and the other fields', () => {
    const line = JSON.stringify({
      level: 30,
      time,
      pid: 7,
      hostname: 'h',
      instance: 'demo',
      msg: 'guest runs',
    });
    expect(readableLine(line, false)).toBe('03:04:05.006 info  guest runs instance=demo');
  });

  it('quotes values that hold spaces and prints objects as JSON', () => {
    const line = JSON.stringify({ level: 40, time, msg: 'odd', why: 'two words', at: { a: 1 } });
    expect(readableLine(line, false)).toBe('03:04:05.006 warn  odd why="two words" at={"a":1}');
  });

  it('puts the stack of an error below', () => {
    const line = JSON.stringify({ level: 50, time, msg: 'lost', err: { stack: 'Error: x\n at y' } });
    expect(readableLine(line, false)).toBe('03:04:05.006 ERROR lost\n    Error: x\n     at y');
  });

  it('is coloured on request only', () => {
    const line = JSON.stringify({ level: 30, time, msg: 'm' });
    expect(readableLine(line, true)).toContain('\u001b[');
    expect(readableLine(line, false)).not.toContain('\u001b[');
  });

  it.each(['plain text', '{"not":"a log"}', '{broken', '[1]', ''])('%j is left as it is', (line) => {
    expect(readableLine(line, true)).toBe(line);
  });
});
