// Logical processors that are online: which socket and core each is of, as the kernel's admin-guide/cputopology.rst says.
import { parseCpuList } from '@wirt/api';
import type { HostCpu } from '@wirt/core';
import type { HostFiles } from '../../platform/host-files.ts';

const cpuDirectory = '/sys/devices/system/cpu';

/** A processor without its node. */
export type SeatedCpu = Omit<HostCpu, 'node'>;

/** Ascending. Without the file (a kernel without hot-plug), all that are there. */
export async function onlineCpus(files: HostFiles): Promise<readonly number[]> {
  const online = parseCpuList((await files.line(`${cpuDirectory}/online`)) ?? '');
  if (online !== undefined && online.length > 0) return online;
  const present = (await files.list(cpuDirectory)).flatMap((name) => /^cpu(\d+)$/.exec(name)?.[1] ?? []);
  return present.map(Number).toSorted((a, b) => a - b);
}

interface Seat {
  readonly id: number;
  readonly socket: number;
  /** Orders cores of the host; the same for threads of one core. */
  readonly place: readonly [socket: number, die: number, core: number, firstThread: number];
}

/** In the order of their numbers. Cores get numbers from 0, those of a socket and of a die after each other. */
export async function readCpus(files: HostFiles, ids: readonly number[]): Promise<readonly SeatedCpu[]> {
  const read = await Promise.all(ids.map((id) => readSeat(files, id)));
  const seats = read.filter((seat) => seat !== undefined);
  const places = new Map(seats.map(({ place }) => [String(place), place]));
  const inOrder = [...places].toSorted(([, a], [, b]) => comparePlaces(a, b));
  const cores = new Map(inOrder.map(([key], at) => [key, at]));
  return seats.map(({ id, socket, place }) => ({ id, socket, core: cores.get(String(place)) ?? 0 }));
}

/** Undefined: gone since the list was read. */
async function readSeat(files: HostFiles, id: number): Promise<Seat | undefined> {
  const path = `${cpuDirectory}/cpu${id}`;
  const [socket, die, core] = await Promise.all([
    files.number(`${path}/topology/physical_package_id`),
    files.number(`${path}/topology/die_id`),
    files.number(`${path}/topology/core_id`),
  ]);
  if (socket === undefined && core === undefined && !(await files.exists(path))) return undefined;
  // Firmware that does not say has -1.
  const known = (value: number | undefined): number => Math.max(0, value ?? 0);
  const at = known(socket);
  if (core !== undefined && core >= 0) return { id, socket: at, place: [at, known(die), core, -1] };
  const siblings = parseCpuList((await files.line(`${path}/topology/thread_siblings_list`)) ?? '');
  return { id, socket: at, place: [at, known(die), -1, siblings?.[0] ?? id] };
}

function comparePlaces(a: Seat['place'], b: Seat['place']): number {
  return a[0] - b[0] || a[1] - b[1] || a[2] - b[2] || a[3] - b[3];
}
