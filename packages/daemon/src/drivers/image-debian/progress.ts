// What mmdebstrap, apt and dpkg say while they work, turned into progress. Pure but for its own counts.
import type { BuildProgress } from '@wirt/core';

const units: Readonly<Record<string, number>> = { B: 1, kB: 1e3, MB: 1e6, GB: 1e9 };

/** Takes one line after another; calls back when there is progress. */
export function progressReader(onProgress: (progress: BuildProgress) => void): (line: string) => void {
  let packages = { done: 0, total: 0 };
  let bytes = { done: 0, total: 0 };
  const steps = (stage: string): void => onProgress({ stage, done: 0, total: 1, unit: 'steps' });

  return (line) => {
    const needed = /^Need to get ([\d.,]+) (B|kB|MB|GB)(?:\/[\d.,]+ [kMG]?B)? of archives/.exec(line);
    if (needed !== null) {
      bytes = { done: 0, total: toBytes(needed) };
      return;
    }
    const got = /^Get:\d+ .* \[([\d.,]+) (B|kB|MB|GB)\]$/.exec(line);
    if (got !== null && bytes.total > 0) {
      // Sizes are rounded by apt: a sum may come out a little above.
      bytes = { ...bytes, done: Math.min(bytes.total, bytes.done + toBytes(got)) };
      onProgress({ stage: 'downloading packages', ...bytes, unit: 'bytes' });
      return;
    }
    const count = /^\d+ upgraded, (\d+) newly installed/.exec(line);
    // Said twice about the same packages when apt first downloads.
    if (count !== null) packages = { done: 0, total: 2 * Number(count[1]) };
    if (/^(Unpacking|Setting up) \S/.test(line) && packages.total > 0) {
      packages = { ...packages, done: Math.min(packages.total, packages.done + 1) };
      onProgress({ stage: 'installing packages', ...packages, unit: 'steps' });
      return;
    }
    const own = /^wirt: (.+)$/.exec(line)?.[1];
    if (own !== undefined) steps(own);
    else if (line === 'I: running apt-get update...') steps('fetching package lists');
    else if (line === 'I: extracting archives...') steps('unpacking the essential packages');
  };
}

function toBytes(match: RegExpExecArray): number {
  return Math.round(Number(match[1]?.replaceAll(',', '')) * (units[match[2] ?? ''] ?? 1));
}

/** The line of a failed run that says most: the first error of apt, dpkg or mmdebstrap. */
export function tellingLine(output: string): string | undefined {
  const lines = output.split('\n').map((line) => line.trim());
  return (
    lines.find((line) => /^(E: (?!Sub-process|command failed|run_chroot)|dpkg: error|Err:)/.test(line)) ??
    lines.findLast((line) => line.startsWith('E: '))
  );
}
