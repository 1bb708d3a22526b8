/** What QEMU alone may change of a running guest, in memory: rates, balloon, processors and memory that a guest takes or does not. */
import { type Throttle, WirtError } from '@wirt/api';
import type { GuestPins, LaunchPlan } from '../domain/guest.ts';
import type { DiskCounters, GuestTuning } from '../ports/hypervisor.ts';

export interface FakeTuning extends GuestTuning {
  all: Throttle;
  each: Readonly<Record<string, Throttle>>;
  plugged: number;
  pluggedMib: number;
  balloonMib: number | undefined;
  /** Whether the guest gives memory back and takes processors. */
  obliges: boolean;
  /** What every command fails with. */
  failure: Error | undefined;
  counters: readonly DiskCounters[];
  pins: GuestPins | undefined;
}

export function createFakeTuning(
  plan: Pick<LaunchPlan, 'cpus' | 'maxCpus' | 'memoryMib' | 'maxMemoryMib' | 'freePageReporting'>,
): FakeTuning {
  const answer = async <T>(value: () => T): Promise<T> => {
    if (fake.failure !== undefined) throw fake.failure;
    return value();
  };
  const memory = () => ({
    bootMib: plan.memoryMib,
    pluggedMib: fake.pluggedMib,
    maxMib: plan.maxMemoryMib,
    freePageReporting: plan.freePageReporting,
    ...(fake.balloonMib === undefined ? {} : { balloonMib: fake.balloonMib }),
  });
  const vcpus = () => ({ plugged: fake.plugged, max: plan.maxCpus });
  const fake: FakeTuning = {
    all: {},
    each: {},
    plugged: plan.cpus,
    pluggedMib: plan.memoryMib,
    balloonMib: undefined,
    obliges: true,
    failure: undefined,
    counters: [],
    pins: undefined,
    pin: (pins) =>
      answer(() => {
        fake.pins = pins;
      }),
    throttle: ({ all, each }) =>
      answer(() => {
        fake.all = all;
        fake.each = each;
      }),
    throttles: () => answer(() => ({ all: fake.all, each: fake.each })),
    balloon: (targetMib) =>
      answer(() => {
        if (fake.obliges) fake.balloonMib = targetMib;
      }),
    memory: () => answer(memory),
    resizeMemory: (targetMib) =>
      answer(() => {
        if (targetMib < plan.memoryMib) throw new WirtError('limit.unsupported', 'Less than at its start.');
        if (fake.obliges) fake.pluggedMib = targetMib;
        return memory();
      }),
    vcpus: () => answer(vcpus),
    resizeVcpus: (target) =>
      answer(() => {
        if (fake.obliges) fake.plugged = target;
        return vcpus();
      }),
    vcpuThreads: () => answer(() => Array.from({ length: fake.plugged }, (_, at) => 2000 + at)),
    disks: () => answer(() => fake.counters),
  };
  return fake;
}
