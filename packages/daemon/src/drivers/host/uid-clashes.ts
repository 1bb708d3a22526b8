// Accounts, groups and subordinate ranges of the host that lie in the range of uids for guests.
import type { HostFiles } from '../../platform/host-files.ts';

interface Range {
  readonly first: number;
  readonly count: number;
}

/** Their names, each once. */
export async function findClashes(files: HostFiles, range: Range): Promise<string[]> {
  const read = async (path: string, toRange: (fields: readonly string[]) => Range): Promise<string[]> =>
    ((await files.text(path)) ?? '')
      .split('\n')
      .map((line) => line.split(':'))
      .filter((fields) => fields.length >= 3 && overlaps(toRange(fields), range))
      .map((fields) => `${fields[0]} in ${path}`);
  const single = (fields: readonly string[]): Range => ({ first: Number(fields[2]), count: 1 });
  const many = (fields: readonly string[]): Range => ({ first: Number(fields[1]), count: Number(fields[2]) });
  const found = await Promise.all([
    read('/etc/passwd', single),
    read('/etc/group', single),
    read('/etc/subuid', many),
    read('/etc/subgid', many),
  ]);
  return found.flat();
}

function overlaps(a: Range, b: Range): boolean {
  return a.first < b.first + b.count && b.first < a.first + a.count;
}
