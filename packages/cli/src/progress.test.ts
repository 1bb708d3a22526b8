import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { barLine, createProgress, type Report } from './progress.ts';

function stage(name: string, done?: number): Report {
  return {
    title: 'Building image micro',
    stage: name,
    ...(done === undefined ? {} : { progress: { done, total: 1000, unit: 'steps' as const } }),
  };
}

function shown(terminal: boolean, elapsedMs: readonly number[], reports: readonly Report[]): string {
  const stream = Object.assign(new PassThrough(), terminal ? { isTTY: true, columns: 60 } : {});
  const times = [0, ...elapsedMs];
  const progress = createProgress({ stream, now: () => times.shift() ?? 99_000 });
  for (const report of reports) progress.report(report);
  progress.end();
  return String(stream.read() ?? '');
}

describe('progress', () => {
  it('is silent for work that is quickly done', () => {
    expect(shown(false, [100, 400], [stage('download'), stage('unpack')])).toBe('');
    expect(shown(true, [100, 400], [stage('download'), stage('unpack')])).toBe('');
  });

  it('is a plain line for every stage and every tenth of it where there is no terminal', () => {
    const reports = [stage('download', 10), stage('download', 40), stage('download', 150), stage('unpack')];
    expect(shown(false, [600, 700, 800, 900], reports)).toBe(
      [
        'Building image micro: download 10 of 1000',
        'Building image micro: download 150 of 1000',
        'Building image micro: unpack',
        '',
      ].join('\n'),
    );
  });

  it('draws over one line on a terminal, no wider than it, and takes it away', () => {
    const text = shown(true, [2000, 3000], [stage('download', 500), stage('unpack')]);
    expect(text).toBe(
      '\r\x1b[KBuilding image micro: download [#####-----] 500 of 1000 2 s\r\x1b[KBuilding image micro: unpack 3 s\r\x1b[K',
    );
    expect(text).toSatisfy((all: string) => all.split('\r\x1b[K').every((line) => line.length < 60));
  });

  it('shows bytes as a share, and nothing that a stage could smuggle in', () => {
    const report = {
      title: 'X',
      stage: 'a\x1b[2J',
      progress: { done: 1, total: 4_194_304, unit: 'bytes' as const },
    };
    expect(barLine(report, 1000)).toBe('X: a\\x1b[2J [------------------------] 0 % of 4.0 MiB 1 s');
    expect(barLine({ ...report, progress: { ...report.progress, total: 0 } }, 0)).toBe('X: a\\x1b[2J 0 s');
  });

  it('shows the rate, and the time that is left by it', () => {
    const gib = 1024 ** 3;
    const copying = (done: number, perSecond: number) => ({
      title: 'Importing image old',
      stage: 'convert',
      progress: { done, total: 4 * gib, unit: 'bytes' as const, perSecond },
    });
    expect(barLine(copying(gib, gib / 8), 1000, 100)).toBe(
      'Importing image old: convert [######------------------] 25 % of 4.0 GiB, 128 MiB/s, 24 s left',
    );
    expect(barLine(copying(4 * gib, gib), 1000, 60)).toBe(
      'Importing image old: convert 100 % of 4.0 GiB, 1.0 GiB/s',
    );
    // Nothing moves: no time can be told.
    expect(barLine(copying(gib, 0), 5000, 60)).toBe(
      'Importing image old: convert [##-------] 25 % of 4.0 GiB 5 s',
    );
    expect(shown(false, [600], [copying(gib, gib / 8)])).toBe(
      'Importing image old: convert 25 % of 4.0 GiB, 128 MiB/s, 24 s left\n',
    );
  });
});
