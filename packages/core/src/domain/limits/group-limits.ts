/** What a guest's control group is held to. */

/** What a group is held to. What is absent has no limit; the kernel's own default then. */
export interface GroupLimits {
  /** Processor time in cores; `burstMs` is what may be saved for later, of which the kernel takes no more than the limit allows in a period. */
  readonly cores?: number;
  readonly burstMs?: number;
  /** 1 to 10,000; 100 is the default. Read back as it acts: v1 has shares, 1024 for 100. */
  readonly weight?: number;
  readonly ceilingMib?: number;
  readonly reservationMib?: number;
  /** Beside the ceiling. */
  readonly swapMib?: number;
  readonly ioWeight?: number;
}

export type GroupLimitKey = keyof GroupLimits;

/** A weight of 100 is what has none. */
export function withoutDefaults({ weight, ioWeight, ...rest }: GroupLimits): GroupLimits {
  return {
    ...rest,
    ...(weight === undefined || weight === 100 ? {} : { weight }),
    ...(ioWeight === undefined || ioWeight === 100 ? {} : { ioWeight }),
  };
}
