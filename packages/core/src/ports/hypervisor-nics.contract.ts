// What every Hypervisor promises of a running guest's network cards, as tests. Taps are made and looked at by the harness.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { LaunchPlan, PlannedNic } from '../domain/guest.ts';
import type { NicBackend } from '../domain/network-plan.ts';
import type { HypervisorHarness } from './hypervisor.contract.ts';
import type { Guest, Hypervisor } from './hypervisor.ts';
import { says } from './hypervisor-disks-harness.contract.ts';

export interface TapHarness {
  /** A tap that the guest's user owns, of one queue or of many; its name. */
  make(options?: { readonly manyQueues?: boolean }): Promise<string>;
  /** A name that no interface has. */
  missing(): string;
  /** How many queues are open by somebody. */
  openQueues(tap: string): Promise<number>;
}

export interface HypervisorNicsHarness extends HypervisorHarness {
  /** Undefined for a user who may not make any. */
  readonly taps: TapHarness | undefined;
}

const never = new AbortController().signal;
const user: NicBackend = { type: 'user', hostname: 'guest', forwards: [] };
const tapped = (tap: string, queues = 1): NicBackend => ({
  type: 'tap',
  interface: tap,
  queues,
  vhost: false,
});

function nic(name: string, slot: number, backend: NicBackend = user): PlannedNic {
  return { name, slot, model: 'virtio', mac: `02:00:00:00:00:1${slot}`, mtu: 1500, backend };
}

export function hypervisorNicsContract(
  name: string,
  createHarness: () => Promise<HypervisorNicsHarness>,
): void {
  describe(`the network cards of a guest: ${name}`, () => {
    let harness: HypervisorNicsHarness;
    let hypervisor: Hypervisor;

    beforeEach(async () => {
      harness = await createHarness();
      hypervisor = harness.open();
    });
    afterEach(() => harness[Symbol.asyncDispose]());

    const launch = (nics: readonly PlannedNic[], more: Partial<LaunchPlan> = {}): Promise<Guest> =>
      hypervisor.launch({ ...harness.plan(), ...more, nics }, harness.confinement, {
        signal: never,
        onStep: async () => {},
      });
    const restarted = async (guest: Guest): Promise<Guest> => {
      guest.detach();
      hypervisor = harness.open();
      const [found] = await hypervisor.discover();
      if (found === undefined) throw new Error('The guest was not found.');
      return hypervisor.attach(found, never);
    };
    const list = async (guest: Guest): Promise<string[]> => [...(await guest.nics.list(never))].toSorted();
    const tapsOr = (skip: (reason: string) => never): TapHarness =>
      harness.taps ?? skip('needs root for taps');

    describe('at launch', () => {
      it('are there, of every model', async () => {
        const models = ['virtio', 'e1000e', 'e1000', 'vmxnet3', 'rtl8139'] as const;
        const guest = await launch(models.map((model, slot) => ({ ...nic(model, slot), model })));
        expect(await list(guest)).toEqual([...models].toSorted());
        await guest.kill(never);
      });

      it('are there in every slot, with another MTU, and booted from', async () => {
        const slots = [0, 1, 2, 3, 4, 5, 6, 7];
        const guest = await launch(
          slots.map((slot) => ({ ...nic(`nic${slot}`, slot), mtu: 9000, bootIndex: slot + 1 })),
        );
        expect(await list(guest)).toEqual(slots.map((slot) => `nic${slot}`));
        await guest.kill(never);
      });

      it('are there on a microvm, which takes no more while it runs', async () => {
        const guest = await launch([{ ...nic('nic0', 0), mtu: 1400 }], { machine: 'microvm' });
        expect(await list(guest)).toEqual(['nic0']);
        await expect(guest.nics.attach(nic('nic1', 1), never)).rejects.toMatchObject({
          code: 'instance.state_conflict',
          hint: expect.stringContaining('wirt stop'),
        });
        await guest.kill(never);
      });

      it('open their taps, with as many queues as planned, as the guest’s own user', async ({ skip }) => {
        const taps = tapsOr(skip);
        const [one, many] = [await taps.make(), await taps.make({ manyQueues: true })];
        const guest = await launch([nic('nic0', 0, tapped(one)), nic('nic1', 1, tapped(many, 4))], {
          cpus: 4,
        });
        expect([await taps.openQueues(one), await taps.openQueues(many)]).toEqual([1, 4]);
        await guest.kill(never);
        expect([await taps.openQueues(one), await taps.openQueues(many)]).toEqual([0, 0]);
      });

      it('without their tap keep the guest from starting, by name of the tap', async ({ skip }) => {
        const tap = tapsOr(skip).missing();
        await expect(launch([nic('nic0', 0, tapped(tap))])).rejects.toMatchObject({
          code: 'instance.start_failed',
          cause: { message: expect.stringContaining(tap) },
        });
      });
    });

    describe('plugged in live', () => {
      it('are there, also after a restart of the daemon, and again is the same', async ({ skip }) => {
        const taps = tapsOr(skip);
        const tap = await taps.make({ manyQueues: true });
        const guest = await launch([nic('nic0', 0)]);
        await guest.nics.attach(nic('nic1', 1, tapped(tap, 2)), never);
        expect(await taps.openQueues(tap)).toBe(2);
        const again = await restarted(guest);
        await again.nics.attach(nic('nic1', 1, tapped(tap, 2)), never);
        expect(await list(again)).toEqual(['nic0', 'nic1']);
        expect(await taps.openQueues(tap)).toBe(2);
        await again.kill(never);
      });

      it.each(['virtio', 'e1000e', 'e1000', 'vmxnet3', 'rtl8139'] as const)('can be a %s', async (model) => {
        const guest = await launch([]);
        await guest.nics.attach({ ...nic('nic0', 7), model }, never);
        expect(await list(guest)).toEqual(['nic0']);
        await guest.kill(never);
      });

      it('whose tap is not there are refused, and can be plugged in when it is', async ({ skip }) => {
        const taps = tapsOr(skip);
        const guest = await launch([]);
        await expect(guest.nics.attach(nic('nic0', 0, tapped(taps.missing())), never)).rejects.toMatchObject({
          code: 'instance.state_conflict',
        });
        expect(await list(guest)).toEqual([]);
        await guest.nics.attach(nic('nic0', 0, tapped(await taps.make())), never);
        expect(await list(guest)).toEqual(['nic0']);
        await guest.kill(never);
      });

      it('into a slot that is taken are refused, and their tap is closed again', async ({ skip }) => {
        const taps = tapsOr(skip);
        const tap = await taps.make();
        const guest = await launch([nic('nic0', 3)]);
        await expect(guest.nics.attach(nic('nic1', 3, tapped(tap)), never)).rejects.toMatchObject({
          code: 'instance.state_conflict',
        });
        expect(await list(guest)).toEqual(['nic0']);
        expect(await taps.openQueues(tap)).toBe(0);
        await guest.kill(never);
      });

      it('of a name that is taken by another are refused', async () => {
        const guest = await launch([nic('nic0', 0)]);
        await expect(guest.nics.attach(nic('nic0', 1), never)).rejects.toMatchObject({
          code: 'instance.state_conflict',
        });
        expect(await list(guest)).toEqual(['nic0']);
        await guest.kill(never);
      });
    });

    describe('unplugged', () => {
      it('are closed when the guest has let go, and can be plugged in again', async ({ skip }) => {
        const taps = tapsOr(skip);
        const tap = await taps.make();
        const guest = await launch([nic('nic0', 0, tapped(tap))]);
        const detached = guest.nics.detach('nic0', AbortSignal.timeout(20_000));
        // A guest that starts anew has let go of everything.
        await guest.reset(never);
        await detached;
        expect(await list(guest)).toEqual([]);
        expect(await taps.openQueues(tap)).toBe(0);
        await guest.nics.attach(nic('nic0', 0, tapped(tap)), never);
        expect(await taps.openQueues(tap)).toBe(1);
        await guest.kill(never);
      });

      it('stay when the guest does not let go in time', async () => {
        const guest = await launch([nic('nic0', 0)]);
        await guest.resume(never);
        await says(guest, 'ready');
        const detached = guest.nics.detach('nic0', AbortSignal.timeout(1_000));
        await expect(detached).rejects.toMatchObject({ code: 'network.detach_refused' });
        expect(await list(guest)).toEqual(['nic0']);
        await guest.kill(never);
      });

      it('are closed also when the guest lets go later', async ({ skip }) => {
        const taps = tapsOr(skip);
        const tap = await taps.make();
        const guest = await launch([nic('nic0', 0, tapped(tap)), nic('nic1', 1)]);
        const detached = guest.nics.detach('nic0', AbortSignal.timeout(200));
        await expect(detached).rejects.toMatchObject({ code: 'network.detach_refused' });
        await guest.reset(never);
        await expect.poll(() => taps.openQueues(tap), { timeout: 20_000 }).toBe(0);
        expect(await list(guest)).toEqual(['nic1']);
        await guest.kill(never);
      });

      it('are closed also when the guest lets go later, for a daemon that knows nothing of it', async ({
        skip,
      }) => {
        const taps = tapsOr(skip);
        const tap = await taps.make();
        const guest = await launch([nic('nic0', 0, tapped(tap))]);
        const detached = guest.nics.detach('nic0', AbortSignal.timeout(200));
        await expect(detached).rejects.toMatchObject({ code: 'network.detach_refused' });
        const again = await restarted(guest);
        await again.reset(never);
        await again.nics.detach('nic0', AbortSignal.timeout(20_000));
        expect(await taps.openQueues(tap)).toBe(0);
        await again.nics.attach(nic('nic0', 1, tapped(tap)), never);
        await again.kill(never);
      });

      it('that are not there are no error', async () => {
        const guest = await launch([]);
        await guest.nics.detach('nic0', AbortSignal.timeout(5_000));
        await guest.kill(never);
      });

      it('give back why it was given up', async () => {
        const guest = await launch([nic('nic0', 0)]);
        const controller = new AbortController();
        const detached = guest.nics.detach('nic0', controller.signal);
        controller.abort(new Error('no longer wanted'));
        await expect(detached).rejects.toThrow('no longer wanted');
        await guest.kill(never);
      });
    });
  });
}
