// What every Hypervisor promises of changes to a running guest's limits, memory and vCPUs, as tests. A guest without an operating system
// shows what acts on it alone; what it has to do itself is shown by one with Linux and an agent, where the harness has one.
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { LaunchPlan, PlannedDisk } from '../domain/guest.ts';
import type { Guest, Hypervisor } from './hypervisor.ts';
import { disk, type HypervisorDisksHarness, never, says } from './hypervisor-disks-harness.contract.ts';

export interface HypervisorTuningHarness extends HypervisorDisksHarness {
  /** A guest with an agent, and drivers for the balloon and for memory that is plugged in; or why there is none. */
  readonly linux: Pick<Required<LaunchPlan>, 'kernel'> | { readonly missing: string };
}

/** In which a request that is held up must not be done. */
const heldMs = 700;
const guestMs = 30_000;
const within = (ms: number): AbortSignal => AbortSignal.timeout(ms);

export function hypervisorTuningContract(
  name: string,
  createHarness: () => Promise<HypervisorTuningHarness>,
): void {
  describe(`the tuning of a guest: ${name}`, () => {
    let harness: HypervisorTuningHarness;
    let hypervisor: Hypervisor;

    beforeEach(async () => {
      harness = await createHarness();
      hypervisor = harness.open();
    });
    afterEach(() => harness[Symbol.asyncDispose]());

    const start = (plan: LaunchPlan): Promise<Guest> =>
      hypervisor.launch(plan, harness.confinement, { signal: never, onStep: async () => {} });
    const launch = (more: Partial<LaunchPlan> = {}): Promise<Guest> => start({ ...harness.plan(), ...more });
    const ready = async (guest: Guest): Promise<void> => {
      const told = says(guest, 'ready');
      await guest.resume(never);
      await told;
    };
    /** One that will boot from its first disk. */
    const stopped = (disks: readonly PlannedDisk[]): Promise<Guest> => {
      const { kernel: _kernel, ...plan } = harness.plan();
      return start({ ...plan, disks });
    };
    const root = async (): Promise<PlannedDisk> => ({
      ...disk('root', 0, [await harness.disks.makeBootLayer()]),
      bootIndex: 1,
    });
    const restarted = async (guest: Guest): Promise<Guest> => {
      guest.detach();
      hypervisor = harness.open();
      const [found] = await hypervisor.discover();
      if (found === undefined) throw new Error('The guest was not found.');
      return hypervisor.attach(found, never);
    };
    const types = async (guest: Guest, letter: string, answer: string): Promise<void> => {
      const answered = says(guest, answer, 'from now on');
      guest.console.write(Buffer.from(letter));
      await answered;
    };

    describe('the limits of disks', () => {
      const limits = {
        all: {
          totalBytes: { rate: 1_000_000, burst: 2_000_000, burstSeconds: 5 },
          readOperations: { rate: 100 },
        },
        each: { root: { writeBytes: { rate: 5_000_000 }, totalOperations: { rate: 50, burst: 60 } } },
      };

      it('are none at first; are set, read back, changed and removed, also by the next daemon', async () => {
        const data = disk('data', 1, [await harness.disks.makeLayer()]);
        let guest = await stopped([await root(), data]);
        expect(await guest.tuning.throttles(never)).toEqual({ all: {}, each: {} });
        await guest.tuning.throttle(limits, never);
        expect(await guest.tuning.throttles(never)).toEqual(limits);
        guest = await restarted(guest);
        expect(await guest.tuning.throttles(never)).toEqual(limits);
        const changed = {
          all: { writeBytes: { rate: 7 }, totalOperations: { rate: 0 } },
          each: { data: limits.each.root, gone: limits.each.root },
        };
        await guest.tuning.throttle(changed, never);
        const { data: ofData } = changed.each;
        expect(await guest.tuning.throttles(never)).toEqual({
          all: { writeBytes: { rate: 7 } },
          each: { data: ofData },
        });
        await guest.tuning.throttle({ all: {}, each: {} }, never);
        expect(await guest.tuning.throttles(never)).toEqual({ all: {}, each: {} });
        await guest.kill(never);
      });

      it.each(['virtio', 'virtio-scsi', 'sata', 'nvme', 'pvscsi', 'lsi'] as const)(
        'are set for a disk on the bus %s',
        async (bus) => {
          const guest = await stopped([{ ...(await root()), bus }]);
          await guest.tuning.throttle(limits, never);
          expect(await guest.tuning.throttles(never)).toEqual(limits);
          await guest.kill(never);
        },
      );

      it('that contradict each other are refused, and what was before stays', async () => {
        const guest = await stopped([await root()]);
        await guest.tuning.throttle(limits, never);
        const both = { totalBytes: { rate: 9 }, readBytes: { rate: 9 } };
        const change = guest.tuning.throttle({ ...limits, all: both }, never);
        await expect(change).rejects.toMatchObject({ code: 'limit.failed' });
        expect(await guest.tuning.throttles(never)).toEqual(limits);
        await guest.kill(never);
      });

      it('of all together hold up what is plugged in later too, until they are removed', async () => {
        const guest = await stopped([await root()]);
        const data = { ...disk('data', 1, [await harness.disks.makeLayer()]), bootIndex: 2 };
        await guest.disks.attach(data, never);
        await ready(guest);
        // Its firmware finds the new disk.
        const again = says(guest, 'ready', 'from now on');
        await guest.reset(never);
        await again;
        await guest.tuning.throttle({ all: { writeBytes: { rate: 1024 } }, each: {} }, never);
        // The first write, to its own disk, uses up half a minute; the second, to the other one, waits.
        const both = says(guest, '.', 'from now on');
        guest.console.write(Buffer.from('b'));
        expect(await Promise.race([both, delay(heldMs, 'held')])).toBe('held');
        await guest.tuning.throttle({ all: {}, each: {} }, never);
        await both;
        expect((await guest.tuning.disks(never)).map(({ writes }) => writes > 0)).toEqual([true, true]);
        await guest.kill(never);
      });

      it('hold up a disk that has got another layer, and let go of what waits when they are removed', async () => {
        const drive = await root();
        const guest = await stopped([drive]);
        await ready(guest);
        await guest.tuning.throttle({ all: { writeBytes: { rate: 1024 } }, each: {} }, never);
        await guest.disks.overlay([{ disk: 'root', layer: await harness.disks.makeLayer() }], never);
        await types(guest, 'w', '+');
        const second = types(guest, 'w', '+');
        expect(await Promise.race([second, delay(heldMs, 'held')])).toBe('held');
        await guest.tuning.throttle({ all: { writeBytes: { rate: 1_000_000_000 } }, each: {} }, never);
        await second;
        expect((await guest.disks.chains(never)).get('root')).toHaveLength(2);
        await guest.kill(never);
      });

      it('of one disk hold that up, and let go of what waits when they are removed', async () => {
        const guest = await stopped([await root()]);
        await ready(guest);
        await guest.tuning.throttle({ all: {}, each: { root: { writeBytes: { rate: 1024 } } } }, never);
        await types(guest, 'w', '+');
        const second = types(guest, 'w', '+');
        expect(await Promise.race([second, delay(heldMs, 'held')])).toBe('held');
        await guest.tuning.throttle({ all: {}, each: {} }, never);
        await second;
        await guest.kill(never);
      });

      it('stand beside counters of what the guest has read and written', async () => {
        const data = disk('data', 1, [await harness.disks.makeLayer()]);
        const guest = await stopped([await root(), data]);
        await ready(guest);
        await types(guest, 'w', '+');
        await types(guest, 'w', '+');
        const counters = await guest.tuning.disks(never);
        expect(counters.map((each) => each.name)).toEqual(['root', 'data']);
        expect(counters[0]).toMatchObject({ writes: 2, writtenBytes: 65_536 });
        expect(counters[0]?.readBytes).toBeGreaterThanOrEqual(512);
        expect(counters[1]).toMatchObject({ writes: 0, writtenBytes: 0 });
        await guest.kill(never);
      });
    });

    describe('vCPUs and memory', () => {
      it('are told as they are, with the threads of the vCPUs', async () => {
        const guest = await launch({ cpus: 2, maxCpus: 2, freePageReporting: true });
        expect(await guest.tuning.vcpus(never)).toEqual({ plugged: 2, max: 2 });
        expect(new Set(await guest.tuning.vcpuThreads(never)).size).toBe(2);
        expect(await guest.tuning.memory(never)).toMatchObject({
          pluggedMib: 32,
          maxMib: 32,
          balloonMib: 32,
          freePageReporting: true,
        });
        await guest.kill(never);
      });

      it.each(['q35', 'microvm'] as const)(
        'cannot be raised in a %s without room for more',
        async (machine) => {
          const guest = await launch({ machine });
          const refusal = { code: 'limit.unsupported', hint: expect.stringContaining('wirt stop') };
          await expect(guest.tuning.resizeVcpus(2, never)).rejects.toMatchObject(refusal);
          await expect(guest.tuning.resizeMemory(64, never)).rejects.toMatchObject(refusal);
          expect(await guest.tuning.resizeVcpus(1, never)).toEqual({ plugged: 1, max: 1 });
          expect(await guest.tuning.resizeMemory(32, never)).toMatchObject({ pluggedMib: 32, maxMib: 32 });
          await guest.tuning.balloon(16, never);
          await guest.kill(never);
        },
      );

      it('are plugged in without the guest’s help, and stay when it does not let go in time', async () => {
        const guest = await launch({ maxCpus: 4, maxMemoryMib: 160 });
        await ready(guest);
        expect(await guest.tuning.vcpuThreads(never)).toHaveLength(1);
        expect(await guest.tuning.resizeVcpus(3, never)).toEqual({ plugged: 3, max: 4 });
        expect(new Set(await guest.tuning.vcpuThreads(never)).size).toBe(3);
        // This one has not even taken ACPI into use.
        await expect(guest.tuning.resizeVcpus(1, within(300))).rejects.toMatchObject({
          code: 'limit.failed',
        });
        expect(await guest.tuning.vcpus(never)).toEqual({ plugged: 3, max: 4 });
        expect(await guest.tuning.resizeMemory(160, within(300))).toMatchObject({
          pluggedMib: 32,
          maxMib: 160,
        });
        const less = guest.tuning.resizeMemory(16, never);
        await expect(less).rejects.toMatchObject({ code: 'limit.unsupported' });
        await guest.kill(never);
      });
    });

    describe('with a guest that helps', () => {
      const boot = async (more: Partial<LaunchPlan>): Promise<Guest> => {
        const { linux } = harness;
        if ('missing' in linux) throw new Error(linux.missing);
        const guest = await launch({ ...linux, memoryMib: 256, maxMemoryMib: 256, ...more });
        const answers = Promise.withResolvers<void>();
        guest.listen((event) => {
          if (event.kind === 'agent' && event.answers) answers.resolve();
        });
        await guest.resume(never);
        await answers.promise;
        return guest;
      };
      const run = async (guest: Guest, ...argv: string[]): Promise<string> => {
        const { stdout } = await guest.agent.exec({ argv, timeoutSeconds: 10 }, never);
        return Buffer.from(stdout, 'base64').toString();
      };
      const meminfoMib = async (guest: Guest, field: 'MemTotal' | 'MemAvailable'): Promise<number> => {
        const found = new RegExp(`${field}:\\s+(\\d+)`).exec(await run(guest, 'cat', '/proc/meminfo'));
        return Number(found?.[1]) / 1024;
      };
      /** What the guest has more than `before`, in MiB, as far as it uses none of it meanwhile. */
      const gained = async (guest: Guest, field: 'MemTotal' | 'MemAvailable', before: number) =>
        (await meminfoMib(guest, field)) - before;
      const skips = (skip: (reason: string) => never): void => {
        if ('missing' in harness.linux) skip(harness.linux.missing);
      };
      /** The guest gives by and by, and nothing tells of it. */
      const balloonIs = async (guest: Guest, mib: number): Promise<void> => {
        for (const signal = within(guestMs); (await guest.tuning.memory(signal)).balloonMib !== mib; )
          await delay(50, undefined, { signal });
      };

      it('the balloon takes memory from it, and gives it back', { timeout: 90_000 }, async ({ skip }) => {
        skips(skip);
        const guest = await boot({ freePageReporting: true });
        // What the balloon holds is still counted in the total where it may be taken back.
        const before = await meminfoMib(guest, 'MemAvailable');
        await guest.tuning.balloon(160, never);
        await balloonIs(guest, 160);
        expect(await gained(guest, 'MemAvailable', before)).toBeLessThan(-80);
        await guest.tuning.balloon(256, never);
        await balloonIs(guest, 256);
        expect(await gained(guest, 'MemAvailable', before)).toBeGreaterThan(-16);
        await guest.kill(never);
      });

      it('vCPUs are plugged in and online, and taken out, also by the next daemon', {
        timeout: 90_000,
      }, async ({ skip }) => {
        skips(skip);
        let guest = await boot({ maxCpus: 4 });
        expect(await guest.tuning.resizeVcpus(3, within(guestMs))).toEqual({ plugged: 3, max: 4 });
        expect(await run(guest, 'nproc')).toBe('3\n');
        guest = await restarted(guest);
        expect(await guest.tuning.vcpuThreads(never)).toHaveLength(3);
        expect(await guest.tuning.resizeVcpus(1, within(guestMs))).toEqual({ plugged: 1, max: 4 });
        expect(await guest.tuning.vcpuThreads(never)).toHaveLength(1);
        // Where it cannot be done safely it is refused, and the guest lives on.
        const again = guest.tuning.resizeVcpus(2, within(guestMs));
        const { plugged } = await again.catch((error: unknown) => {
          expect(error).toMatchObject({ code: 'limit.unsupported' });
          return { plugged: 1 };
        });
        expect(await run(guest, 'nproc')).toBe(`${plugged}\n`);
        await guest.kill(never);
      });

      it('memory is plugged in and used, and given back', { timeout: 90_000 }, async ({ skip }) => {
        skips(skip);
        const guest = await boot({ maxMemoryMib: 1024 });
        const before = await meminfoMib(guest, 'MemTotal');
        const more = await guest.tuning.resizeMemory(576, within(guestMs));
        expect(more).toMatchObject({ pluggedMib: 576, maxMib: 1024, balloonMib: 576 });
        expect(await gained(guest, 'MemTotal', before)).toBe(320);
        await guest.tuning.balloon(512, never);
        await balloonIs(guest, 512);
        await guest.tuning.balloon(576, never);
        await balloonIs(guest, 576);
        const less = await guest.tuning.resizeMemory(256, within(guestMs));
        expect(less).toMatchObject({ pluggedMib: 256 });
        expect(await gained(guest, 'MemTotal', before)).toBe(0);
        await guest.kill(never);
      });
    });
  });
}
