// Processor time of a group: bandwidth (CFS quota, period and burst) and weight, in both versions. Pure.
import type { GroupLimits } from '@wirt/core';
import type { Dialect, GroupFile, GroupValues } from './limit-dialect.ts';

/** The kernel's default. Below a quota of 1 ms it takes nothing, so less than 0.01 cores have the longest period. */
const periodUs = 100_000;
const longPeriodUs = 1_000_000;
const minQuotaUs = 1_000;

/** Less cannot be had: 1 ms in each second. */
export const minCores = minQuotaUs / longPeriodUs;

interface Bandwidth {
  /** Undefined: no limit. */
  readonly quotaUs: number | undefined;
  readonly periodUs: number;
  readonly burstUs: number;
}

function bandwidthOf({ cores, burstMs = 0 }: GroupLimits): Bandwidth {
  if (!cores) return { quotaUs: undefined, periodUs, burstUs: 0 };
  const period = cores * periodUs < minQuotaUs ? longPeriodUs : periodUs;
  const quotaUs = Math.max(minQuotaUs, Math.round(cores * period));
  // The kernel refuses a burst above the quota (sched-bwc.rst: "burst must be ≤ quota").
  return { quotaUs, periodUs: period, burstUs: Math.min(quotaUs, Math.round(burstMs * 1_000)) };
}

function coresOf({ quotaUs, periodUs: period, burstUs }: Bandwidth): GroupLimits {
  const burst = burstUs > 0 ? { burstMs: burstUs / 1_000 } : {};
  return quotaUs === undefined || !(period > 0) ? burst : { cores: quotaUs / period, ...burst };
}

/** cgroup v2's weights of 100 are v1's shares of 1024 (kernel/sched/sched.h, sched_weight_from_cgroup). */
export function sharesOf(weight: number): number {
  return Math.max(2, Math.round((weight * 1024) / 100));
}

/** As sched_weight_to_cgroup; every weight comes back as it was. */
export function weightOf(shares: number): number {
  return Math.min(10_000, Math.max(1, Math.round((shares * 100) / 1024)));
}

/** 100 is what has no weight. */
function weightIn(weight: number): GroupLimits {
  return weight === 100 || !(weight > 0) ? {} : { weight };
}

/** A burst is lowered before the quota, which must not fall below it, and raised after. */
function rank([file, value]: GroupFile, current: GroupValues): number {
  if (!file.includes('burst')) return 1;
  return Number(value) < Number(current.get(file)) ? 0 : 2;
}

export const cpuV1: Dialect = {
  files: ['cpu.cfs_period_us', 'cpu.cfs_quota_us', 'cpu.cfs_burst_us', 'cpu.shares'],
  rank,
  render(limits) {
    const { quotaUs = -1, periodUs: period, burstUs } = bandwidthOf(limits);
    return [
      ['cpu.cfs_period_us', String(period)],
      ['cpu.cfs_quota_us', String(quotaUs)],
      ['cpu.cfs_burst_us', String(burstUs)],
      ['cpu.shares', String(sharesOf(limits.weight || 100))],
    ];
  },
  parse(values) {
    const quota = Number(values.get('cpu.cfs_quota_us') ?? -1);
    return {
      ...coresOf({
        quotaUs: quota < 0 ? undefined : quota,
        periodUs: Number(values.get('cpu.cfs_period_us') ?? periodUs),
        burstUs: Number(values.get('cpu.cfs_burst_us') ?? 0),
      }),
      ...weightIn(weightOf(Number(values.get('cpu.shares') ?? 1024))),
    };
  },
};

export const cpuV2: Dialect = {
  files: ['cpu.max', 'cpu.max.burst', 'cpu.weight'],
  rank,
  render(limits) {
    const { quotaUs = 'max', periodUs: period, burstUs } = bandwidthOf(limits);
    return [
      ['cpu.max', `${quotaUs} ${period}`],
      ['cpu.max.burst', String(burstUs)],
      ['cpu.weight', String(limits.weight || 100)],
    ];
  },
  parse(values) {
    const [quota = 'max', period] = (values.get('cpu.max') ?? 'max').split(' ');
    return {
      ...coresOf({
        quotaUs: quota === 'max' ? undefined : Number(quota),
        periodUs: Number(period ?? periodUs),
        burstUs: Number(values.get('cpu.max.burst') ?? 0),
      }),
      ...weightIn(Number(values.get('cpu.weight') ?? 100)),
    };
  },
};
