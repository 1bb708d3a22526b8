// What the kernel's files say of a group's and a thread's use. Pure. Sources: cgroup-v1/cpuacct.rst and memory.rst, cgroup-v2.rst,
// accounting/psi.rst, scheduler/sched-stats.rst.

/** The number behind a name at the beginning of a line: `nr_throttled 12`. */
export function fieldOf(text: string, name: string): number | undefined {
  const at = text.startsWith(`${name} `) ? 0 : text.indexOf(`\n${name} `) + 1;
  if (at === 0 && !text.startsWith(`${name} `)) return undefined;
  return Number.parseInt(text.slice(at + name.length + 1, at + name.length + 22), 10);
}

export interface Throttling {
  readonly periods: number;
  readonly throttledPeriods: number;
  readonly throttledSeconds: number;
}

/** `cpu.stat`, of either version: v1 has `throttled_time` in ns, v2 `throttled_usec`. */
export function throttlingIn(text: string): Throttling {
  const microseconds = fieldOf(text, 'throttled_usec');
  const nanoseconds = fieldOf(text, 'throttled_time');
  return {
    periods: fieldOf(text, 'nr_periods') ?? 0,
    throttledPeriods: fieldOf(text, 'nr_throttled') ?? 0,
    throttledSeconds: microseconds === undefined ? (nanoseconds ?? 0) / 1e9 : microseconds / 1e6,
  };
}

/** `some avg10=1.25 avg60=…`: percent, given back as a share of 1. */
export function pressureIn(text: string): number | undefined {
  const percent = /^some avg10=(\d+(?:\.\d+)?)/.exec(text)?.[1];
  return percent === undefined ? undefined : Number(percent) / 100;
}

export interface ThreadUsage {
  readonly cpuSeconds: number;
  readonly stealSeconds: number;
}

/** `/proc/PID/task/TID/schedstat`: ns on a processor, ns ready without one, time slices. */
export function threadUsageIn(text: string): ThreadUsage {
  const [onCpu, delay] = text.split(' ', 2);
  return { cpuSeconds: Number(onCpu) / 1e9 || 0, stealSeconds: Number(delay) / 1e9 || 0 };
}

/** `/proc/PID/stat`: user and system time in ticks, which user space always sees as 100 a second. */
export function processSecondsIn(text: string): number {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100 || 0;
}

/** `VmRSS:     1234 kB` in `/proc/PID/status`. */
export function residentBytesIn(text: string): number {
  return Number(/^VmRSS:\s*(\d+) kB$/m.exec(text)?.[1] ?? 0) * 1024;
}
