import { describe, expect, it } from 'vitest';
import { keyName, splitAtKey, withoutQueries } from './terminal.ts';

const replayed = (text: string): string => Buffer.from(withoutQueries(Buffer.from(text))).toString();

describe('what the guest wrote before', () => {
  it.each([
    ['\x1b[6n', 'where the cursor is'],
    ['\x1b[5n', 'whether the terminal is well'],
    ['\x1b[c\x1b[>0c\x1b[=c\x1bZ', 'what terminal it is'],
    ['\x1b[18t', 'how large the window is'],
    ['\x1b[?2026$p', 'a mode'],
    ['\x1bP$qm\x1b\\', 'a setting'],
    ['\x1b]11;?\x07\x1b]10;?\x1b\\', 'the colours'],
  ])('comes without %j, which asks for %s', (query) => {
    expect(replayed(`a${query}b`)).toBe('ab');
  });

  it('comes with everything else as it is', () => {
    const text = 'héllo \x1b[1;31mred\x1b[0m\x1b[2J\x1b]0;title\x07\x1b[10;5H%\r\n';
    expect(replayed(text)).toBe(text);
    const bytes = Uint8Array.from({ length: 256 }, (_, at) => at);
    expect(Buffer.from(withoutQueries(bytes)).equals(Buffer.from(bytes))).toBe(true);
  });
});

describe('the detach key', () => {
  it('ends the input where it stands', () => {
    const chunk = Buffer.from('abc\x1ddef');
    expect(splitAtKey(chunk, 0x1d)).toEqual({ input: Buffer.from('abc'), detached: true });
    expect(splitAtKey(chunk, 0x01)).toEqual({ input: chunk, detached: false });
    expect([0x1d, 0x01].map(keyName)).toEqual(['Ctrl-]', 'Ctrl-A']);
  });
});
