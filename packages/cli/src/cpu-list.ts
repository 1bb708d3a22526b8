/** Lists of processors as the kernel writes them (`0-3,8`), and what a guest takes its own for (`SOCKETS,CORES,THREADS`). */
import type { CpuTopology } from '@wirt/api';
import { BadValue, quote } from './units.ts';

/** As in the contract, whose schemas are not loaded here. */
const most = { length: 1024, sockets: 4096, cores: 4096, threads: 16 } as const;

/** Gives it back as it was written. Whether the host has them is the daemon's to say. */
export function parseCpuList(text: string): string {
  if (!/^\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?)*$/.test(text))
    throw new BadValue(`takes processors of the host such as 2-3 or 0-3,8, and not ${quote(text)}`);
  if (text.length > most.length)
    throw new BadValue(`takes a list of ${most.length} characters at most, and this has ${text.length}`);
  for (const part of text.split(',')) {
    const [first = 0, last = first] = part.split('-').map(Number);
    if (last < first) throw new BadValue(`counts upwards, and ${part} does not: write ${last}-${first}`);
  }
  return text;
}

/** `1,4,2`: one socket of four cores with two threads each. */
export function parseCpuTopology(text: string): CpuTopology {
  const parts = /^(\d{1,4}),(\d{1,4}),(\d{1,2})$/.exec(text);
  if (parts === null) throw new BadValue(`takes SOCKETS,CORES,THREADS such as 1,4,2, and not ${quote(text)}`);
  const [sockets = 0, cores = 0, threads = 0] = parts.slice(1).map(Number);
  const found = { sockets, cores, threads };
  for (const name of ['sockets', 'cores', 'threads'] as const)
    if (found[name] < 1 || found[name] > most[name])
      throw new BadValue(`takes 1 to ${most[name]} ${name}, and not ${found[name]}`);
  return found;
}
