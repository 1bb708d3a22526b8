/** What is read of processes that may end at any moment: for programs that walk /proc by themselves, and wait for what they read. proc(5). */
import { readdirSync, readFileSync } from 'node:fs';

/** None where the folder is gone, or not ours to read. */
export function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

export function processIds(): string[] {
  return entriesOf('/proc').filter((name) => /^\d+$/.test(name));
}

/** Of the program that it runs, at most 15 bytes. */
export function programNameOf(pid: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return undefined;
  }
}
