// What the contract suites of ResourceControl share: processes that are started inside a group, as the launcher does it.
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import type { InstanceProcess } from '@wirt/api';
import type { ResourceControl } from './resource-control.ts';

export interface ResourceControlUnderTest {
  readonly control: ResourceControl;
  /** Of another daemon on the same machine. */
  readonly other: ResourceControl;
  /** Somebody else moves the process out of the group of `control`'s, and removes the group. */
  evict(id: string, pid: number): Promise<void>;
  /** Somebody else allows the group another share of processor time; absent where that is not limited. */
  meddle?(id: string): Promise<void>;
  /** Lets the groups of `control` come before everything else on a busy machine, so that a limit is what holds them back. */
  favour?(): Promise<void>;
  /** Throws when anything that the two made is left on the host. */
  expectClean(): Promise<void>;
}

export const id = '01J9ZK3W8Y7Q5T2R4M6N8P0V1X';
export const second = '01J9ZK3W8Y7Q5T2R4M6N8P0V1Y';

export type Inside = ChildProcessByStdio<null, Readable, null>;

/** Writes itself into every file, as the launcher does, says so, and becomes `argv`. */
export async function startInside(joinFiles: readonly string[], ...argv: string[]): Promise<Inside> {
  const script =
    'while [ "$1" != -- ]; do echo 0 > "$1" || exit 9; shift; done; shift; echo joined; exec "$@"';
  const child = spawn('/bin/sh', ['-c', script, 'sh', ...joinFiles, '--', ...argv], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  await says(child);
  return child;
}

/** Waits for the next line. */
export async function says(child: Inside): Promise<void> {
  await once(child.stdout, 'data', { signal: AbortSignal.timeout(20_000) });
}

export async function identityOf({
  pid = 0,
}: {
  readonly pid?: number | undefined;
}): Promise<InstanceProcess> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  // proc_pid_stat(5): the name, in brackets, may have spaces; the start time is field 22.
  const startTicks = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
  return { pid, startTicks, uid: 0, gid: 0 };
}
