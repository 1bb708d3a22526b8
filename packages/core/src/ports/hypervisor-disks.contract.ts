// What every Hypervisor promises of a running guest's disks, as tests. Layers are made and looked into by the harness.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DiskLayerNode } from '../domain/disk-source.ts';
import type { LaunchPlan, PlannedDisk } from '../domain/guest.ts';
import type { Guest, GuestEvent, Hypervisor } from './hypervisor.ts';
import {
  type DiskHarness,
  disk,
  type HypervisorDisksHarness,
  mib,
  never,
  says,
} from './hypervisor-disks-harness.contract.ts';
import { hypervisorDisksLayers } from './hypervisor-disks-layers.contract.ts';

export type { HypervisorDisksHarness } from './hypervisor-disks-harness.contract.ts';

const buses = [
  'virtio',
  'virtio-scsi',
  'sata',
  'nvme',
  'pvscsi',
  'lsi',
] as const satisfies PlannedDisk['bus'][];

export function hypervisorDisksContract(
  name: string,
  createHarness: () => Promise<HypervisorDisksHarness>,
): void {
  describe(`the disks of a guest: ${name}`, () => {
    let harness: HypervisorDisksHarness;
    let hypervisor: Hypervisor;

    beforeEach(async () => {
      harness = await createHarness();
      hypervisor = harness.open();
    });
    afterEach(() => harness[Symbol.asyncDispose]());

    const launch = (disks: readonly PlannedDisk[], more: Partial<LaunchPlan> = {}): Promise<Guest> =>
      hypervisor.launch({ ...harness.plan(), ...more, disks }, harness.confinement, {
        signal: never,
        onStep: async () => {},
      });
    /** One that boots from its first disk. */
    const boot = async (disks: readonly PlannedDisk[]): Promise<Guest> => {
      const { kernel: _kernel, ...plan } = harness.plan();
      const guest = await hypervisor.launch({ ...plan, disks }, harness.confinement, {
        signal: never,
        onStep: async () => {},
      });
      const ready = says(guest, 'ready');
      await guest.resume(never);
      await ready;
      return guest;
    };
    const restarted = async (guest: Guest): Promise<Guest> => {
      guest.detach();
      hypervisor = harness.open();
      const [found] = await hypervisor.discover();
      if (found === undefined) throw new Error('The guest was not found.');
      return hypervisor.attach(found, never);
    };
    const makeLayer: DiskHarness['makeLayer'] = (options) => harness.disks.makeLayer(options);

    describe('at launch', () => {
      it('have the layers of the plan, from the base on', async () => {
        const [base, one, two] = [await makeLayer(), await makeLayer(), await makeLayer()];
        const raw = await makeLayer({ format: 'raw' });
        const guest = await launch([
          disk('one', 0, [base, one]),
          disk('two', 1, [base, two]),
          { ...disk('sata', 0, [raw]), bus: 'sata' },
          drive('cd'),
        ]);
        expect(await guest.disks.chains(never)).toEqual(
          new Map([
            ['one', [base.layer, one.layer]],
            ['two', [base.layer, two.layer]],
            ['sata', [raw.layer]],
            ['cd', []],
          ]),
        );
        await guest.kill(never);
      });

      it.each(buses)('are there on the bus %s', async (bus) => {
        const layer = await makeLayer();
        const guest = await launch([{ ...disk('data', 0, [layer]), bus }]);
        expect(await guest.disks.chains(never)).toEqual(new Map([['data', [layer.layer]]]));
        await guest.kill(never);
      });

      it('are there in a microvm, which takes no more while it runs', async () => {
        const layer = await makeLayer();
        const guest = await launch([disk('root', 0, [layer])], { machine: 'microvm' });
        expect(await guest.disks.chains(never)).toEqual(new Map([['root', [layer.layer]]]));
        await expect(guest.disks.attach(disk('data', 1, [await makeLayer()]), never)).rejects.toMatchObject({
          code: 'instance.state_conflict',
          hint: expect.stringContaining('wirt stop'),
        });
        await guest.kill(never);
      });

      it.each(buses)('are booted from on the bus %s', async (bus) => {
        const root = await harness.disks.makeBootLayer();
        const guest = await boot([{ ...disk('root', 0, [root]), bus, bootIndex: 1 }]);
        const written = says(guest, '+');
        guest.console.write(Buffer.from('w'));
        await written;
        await guest.kill(never);
      });

      it('keep a second guest from starting on the same layer, by name of the reason', async () => {
        const layer = await makeLayer();
        const first = await launch([disk('root', 0, [layer])]);
        const plan = { ...harness.plan(), disks: [disk('root', 0, [layer])] };
        const start = hypervisor.launch(plan, harness.confinement, { signal: never, onStep: async () => {} });
        await expect(start).rejects.toMatchObject({ code: 'volume.locked' });
        expect(await harness.processes(plan.id)).toEqual([]);
        await first.kill(never);
      });
    });

    describe('plugged in live', () => {
      it('are there with all their layers, also after a restart of the daemon, and again is the same', async () => {
        const [root, base, top] = [await makeLayer(), await makeLayer(), await makeLayer()];
        const guest = await launch([disk('root', 0, [root])]);
        await guest.disks.attach(disk('data', 1, [base, top]), never);
        const again = await restarted(guest);
        await again.disks.attach(disk('data', 1, [base, top]), never);
        expect(await again.disks.chains(never)).toEqual(
          new Map([
            ['root', [root.layer]],
            ['data', [base.layer, top.layer]],
          ]),
        );
        await again.kill(never);
      });

      it('that another process has open are refused, and nothing is left of the attempt', async () => {
        const [base, taken] = [await makeLayer(), await makeLayer()];
        const other = await launch([disk('root', 0, [taken])]);
        const guest = await launch([]);
        const attach = () => guest.disks.attach(disk('data', 0, [base, taken]), never);
        await expect(attach()).rejects.toMatchObject({ code: 'volume.locked' });
        expect(await guest.disks.chains(never)).toEqual(new Map());
        await other.kill(never);
        await attach();
        expect(await guest.disks.chains(never)).toEqual(new Map([['data', [base.layer, taken.layer]]]));
        await guest.kill(never);
      });

      it('find no port in the end, and that is said with what helps', async () => {
        const guest = await launch([]);
        await expect(guest.disks.attach(disk('data', 31, [await makeLayer()]), never)).rejects.toMatchObject({
          code: 'instance.state_conflict',
          hint: expect.stringContaining('next start'),
        });
        expect(await guest.disks.chains(never)).toEqual(new Map());
        await guest.kill(never);
      });

      it('of a name that is taken by other layers are refused', async () => {
        const guest = await launch([disk('data', 0, [await makeLayer()])]);
        await expect(guest.disks.attach(disk('data', 1, [await makeLayer()]), never)).rejects.toMatchObject({
          code: 'instance.state_conflict',
        });
        await guest.kill(never);
      });
    });

    describe('unplugged', () => {
      it('are closed when the guest has let go, and may be opened by another', async () => {
        const layer = await makeLayer();
        const guest = await launch([disk('data', 0, [layer])]);
        const detached = guest.disks.detach('data', AbortSignal.timeout(20_000));
        // A guest that starts anew has let go of everything.
        await guest.reset(never);
        await detached;
        expect(await guest.disks.chains(never)).toEqual(new Map());
        await guest.disks.attach(disk('data', 0, [layer]), never);
        await guest.kill(never);
      });

      it('stay when the guest does not let go in time', async () => {
        const layer = await makeLayer();
        const guest = await launch([disk('data', 0, [layer])]);
        await guest.resume(never);
        await says(guest, 'ready');
        const detached = guest.disks.detach('data', AbortSignal.timeout(1_000));
        await expect(detached).rejects.toMatchObject({ code: 'volume.detach_refused' });
        expect(await guest.disks.chains(never)).toEqual(new Map([['data', [layer.layer]]]));
        await guest.kill(never);
      });

      it('are closed also when the guest lets go later, for a daemon that knows nothing of it', async () => {
        const layer = await makeLayer();
        const guest = await launch([disk('data', 0, [layer])]);
        const detached = guest.disks.detach('data', AbortSignal.timeout(200));
        await expect(detached).rejects.toMatchObject({ code: 'volume.detach_refused' });
        const again = await restarted(guest);
        await again.reset(never);
        await again.disks.detach('data', AbortSignal.timeout(20_000));
        await again.disks.attach(disk('data', 1, [layer]), never);
        await again.kill(never);
      });

      it('that are not there are no error', async () => {
        const guest = await launch([]);
        await guest.disks.detach('data', AbortSignal.timeout(5_000));
        await guest.kill(never);
      });

      it('on a bus that cannot are refused', async () => {
        const guest = await launch([{ ...disk('data', 0, [await makeLayer()]), bus: 'sata' }]);
        const detached = guest.disks.detach('data', AbortSignal.timeout(5_000));
        await expect(detached).rejects.toMatchObject({ code: 'volume.detach_refused' });
        await guest.kill(never);
      });

      it('give back why it was given up', async () => {
        const guest = await launch([disk('data', 0, [await makeLayer()])]);
        const controller = new AbortController();
        const detached = guest.disks.detach('data', controller.signal);
        controller.abort(new Error('no longer wanted'));
        await expect(detached).rejects.toThrow('no longer wanted');
        await guest.kill(never);
      });
    });

    it.each(['qcow2', 'raw'] as const)('grow, when their layer is %s', async (format) => {
      const layer = await makeLayer({ format, sizeBytes: 8 * mib });
      const guest = await launch([disk('data', 0, [layer])]);
      await guest.disks.resize('data', 16 * mib, never);
      expect(await harness.disks.sizeOf(layer)).toBe(16 * mib);
      await expect(guest.disks.resize('none', mib, never)).rejects.toMatchObject({
        code: 'volume.not_attached',
      });
      await guest.kill(never);
      await harness.disks.check(layer);
    });

    it.each(['virtio', 'virtio-scsi', 'pvscsi', 'lsi'] as const)('grow on the bus %s', async (bus) => {
      const layer = await makeLayer({ sizeBytes: 8 * mib });
      const guest = await launch([{ ...disk('data', 0, [layer]), bus }]);
      await guest.disks.resize('data', 16 * mib, never);
      expect(await harness.disks.sizeOf(layer)).toBe(16 * mib);
      await guest.kill(never);
    });

    it.each(['sata', 'nvme'] as const)(
      'keep their size while the guest runs on the bus %s, and that is said with what helps',
      async (bus) => {
        const layer = await makeLayer({ sizeBytes: 8 * mib });
        const guest = await launch([{ ...disk('data', 0, [layer]), bus }]);
        await expect(guest.disks.resize('data', 16 * mib, never)).rejects.toMatchObject({
          code: 'instance.state_conflict',
          hint: expect.stringContaining('wirt stop'),
        });
        expect(await harness.disks.sizeOf(layer)).toBe(8 * mib);
        await guest.kill(never);
      },
    );

    describe('media', () => {
      it('are put in, changed and taken out', async () => {
        const [one, two] = [await makeLayer({ format: 'raw' }), await makeLayer({ format: 'raw' })];
        const guest = await launch([drive('cd')]);
        const change = (layer?: DiskLayerNode) =>
          guest.disks.changeMedium('cd', layer && { layers: [layer] }, never);
        const layers = async () => (await guest.disks.chains(never)).get('cd');
        await change(one);
        expect(await layers()).toEqual([one.layer]);
        await change(two);
        expect(await layers()).toEqual([two.layer]);
        await change();
        await change();
        expect(await layers()).toEqual([]);
        await change(one);
        expect(await layers()).toEqual([one.layer]);
        await guest.kill(never);
      });

      it('stay where they are when the new one cannot be opened', async () => {
        const one = await makeLayer({ format: 'raw' });
        const guest = await launch([{ ...drive('cd'), source: { layers: [one] } }]);
        const missing = { layers: [await harness.disks.missingLayer()] };
        await expect(guest.disks.changeMedium('cd', missing, never)).rejects.toMatchObject({
          code: 'instance.state_conflict',
        });
        expect(await guest.disks.chains(never)).toEqual(new Map([['cd', [one.layer]]]));
        await guest.kill(never);
      });
    });

    hypervisorDisksLayers({ launch, boot, restarted, makeLayer, disks: () => harness.disks });

    it('stop the guest when there is no room, which is told and known after a restart; then it goes on', async ({
      skip,
    }) => {
      // Only root may mount one.
      const small = (await harness.disks.smallFileSystem?.()) ?? skip('needs root for a small file system');
      const root = await harness.disks.makeBootLayer();
      const overlay = await small.makeLayer();
      const guest = await boot([{ ...disk('root', 0, [root]), bootIndex: 1 }]);
      await guest.disks.overlay([{ disk: 'root', layer: overlay }], never);
      const failed = event(guest, 'disk-error');
      guest.console.write(Buffer.from('w'.repeat(16)));
      const stopTyping = setInterval(() => guest.console.write(Buffer.from('w'.repeat(8))), 50);
      expect(await failed).toEqual({ kind: 'disk-error', disk: 'root', noSpace: true });
      clearInterval(stopTyping);
      expect(guest.state).toMatchObject({ processors: 'paused', diskError: 'no-space' });
      const again = await restarted(guest);
      expect(again.state).toMatchObject({ processors: 'paused', diskError: 'no-space' });
      // Without room it stops again.
      const failedAgain = event(again, 'disk-error');
      await again.resume(never);
      await failedAgain;
      await small.makeRoom();
      const written = says(again, '+', 'from now on');
      await again.resume(never);
      again.console.write(Buffer.from('w'));
      await written;
      expect(again.state).toMatchObject({ processors: 'running', diskError: undefined });
      expect(Buffer.from(again.console.replay()).toString()).not.toContain('!');
      await again.kill(never);
      await harness.disks.check(overlay);
    });
  });
}

function drive(name: string): PlannedDisk {
  return { name, device: 'cdrom', bus: 'sata', readOnly: true, serial: name, slot: 0 };
}

function event<K extends GuestEvent['kind']>(guest: Guest, kind: K): Promise<GuestEvent> {
  return new Promise((resolve) => {
    const stop = guest.listen((each) => {
      if (each.kind !== kind) return;
      stop();
      resolve(each);
    });
  });
}
