// The part of the suite of a guest's disks that changes the layers under a running guest.
import { describe, expect, it } from 'vitest';
import type { DiskLayerNode } from '../domain/disk-source.ts';
import { type DisksBench, disk, mib, never, says } from './hypervisor-disks-harness.contract.ts';

export function hypervisorDisksLayers({ launch, boot, restarted, makeLayer, disks }: DisksBench): void {
  describe('overlays', () => {
    it('take the writing of all disks from one moment on', async () => {
      const [root, data] = [await disks().makeBootLayer(), await makeLayer()];
      const overlays = [await makeLayer(), await makeLayer()] as const;
      const guest = await boot([
        { ...disk('root', 0, [root]), bootIndex: 1 },
        { ...disk('data', 1, [data]), bootIndex: 2 },
      ]);
      const writes = says(guest, '.....');
      guest.console.write(Buffer.from('b'));
      await writes;
      await guest.disks.overlay(
        [
          { disk: 'root', layer: overlays[0] },
          { disk: 'data', layer: overlays[1] },
        ],
        never,
      );
      await says(guest, '.....', 'from now on');
      expect(await guest.disks.chains(never)).toEqual(
        new Map([
          ['root', [root.layer, overlays[0].layer]],
          ['data', [data.layer, overlays[1].layer]],
        ]),
      );
      await guest.kill(never);
      const frozen = await Promise.all([root, data].map((layer) => disks().readNumber([layer])));
      const [first = 0, second = 0] = frozen;
      // The second disk has the number that the first has, or the one before when the moment came between.
      expect(first).toBeGreaterThan(4);
      expect([first, first - 1]).toContain(second);
      expect(await disks().readNumber([root, overlays[0]])).toBeGreaterThan(first);
      for (const layer of [data, ...overlays]) await disks().check(layer);
    });

    it('are taken by no disk when one cannot be opened, and nothing is left of the attempt', async () => {
      const [one, two, overlay] = [await makeLayer(), await makeLayer(), await makeLayer()];
      const guest = await launch([disk('one', 0, [one]), disk('two', 1, [two])]);
      const take = (second: DiskLayerNode) =>
        guest.disks.overlay(
          [
            { disk: 'one', layer: overlay },
            { disk: 'two', layer: second },
          ],
          never,
        );
      const missing = await disks().missingLayer();
      await expect(take(missing)).rejects.toMatchObject({ code: 'snapshot.failed' });
      expect([...(await guest.disks.chains(never)).values()]).toEqual([[one.layer], [two.layer]]);
      const second = await makeLayer();
      await take(second);
      expect([...(await guest.disks.chains(never)).values()]).toEqual([
        [one.layer, overlay.layer],
        [two.layer, second.layer],
      ]);
      await guest.kill(never);
    });
  });

  describe('pulled', () => {
    const frozen = async (): Promise<readonly [DiskLayerNode, DiskLayerNode, DiskLayerNode]> => [
      await disks().makeFullLayer(256 * mib),
      await makeLayer({ sizeBytes: 256 * mib }),
      await makeLayer({ sizeBytes: 256 * mib }),
    ];
    const ids = (layers: readonly DiskLayerNode[]) => layers.map(({ layer }) => layer);

    it('lose the layers in between, then all below, and tell how far they are', async () => {
      const layers = await frozen();
      const [base, , top] = layers;
      const guest = await launch([disk('data', 0, layers)]);
      const pull = (to: DiskLayerNode | undefined, onProgress = (_done: number, _total: number) => {}) =>
        guest.disks.pull({ disk: 'data', layer: top.layer, base: to?.layer }, { signal: never, onProgress });
      await pull(base);
      expect((await guest.disks.chains(never)).get('data')).toEqual(ids([base, top]));
      const told: number[] = [];
      await pull(undefined, (done, total) => {
        expect(done).toBeLessThanOrEqual(total);
        told.push(done);
      });
      expect(told.length).toBeGreaterThan(0);
      expect((await guest.disks.chains(never)).get('data')).toEqual([top.layer]);
      // Done is done.
      await pull(undefined);
      await guest.kill(never);
      await disks().check(top);
      expect(await disks().readNumber([top])).toBe(0x07070707);
    });

    it('into a frozen layer leave those above as they are', async () => {
      const layers = await frozen();
      const [, middle, top] = layers;
      const guest = await launch([disk('data', 0, layers)]);
      await guest.disks.pull(
        { disk: 'data', layer: middle.layer, base: undefined },
        { signal: never, onProgress: () => {} },
      );
      expect((await guest.disks.chains(never)).get('data')).toEqual(ids([middle, top]));
      await guest.kill(never);
      expect(await disks().readNumber([middle])).toBe(0x07070707);
      await disks().check(middle);
    });

    it('keep a whole chain when it is called off, and are pulled when it is done again', async () => {
      const layers = await frozen();
      const [, , top] = layers;
      const guest = await launch([disk('data', 0, layers)]);
      const controller = new AbortController();
      const work = { disk: 'data', layer: top.layer, base: undefined };
      const onProgress = (): void => controller.abort(new Error('no longer wanted'));
      await expect(guest.disks.pull(work, { signal: controller.signal, onProgress })).rejects.toThrow(
        'no longer wanted',
      );
      expect([ids(layers), [top.layer]]).toContainEqual((await guest.disks.chains(never)).get('data'));
      await guest.disks.pull(work, { signal: never, onProgress: () => {} });
      expect((await guest.disks.chains(never)).get('data')).toEqual([top.layer]);
      await guest.kill(never);
      expect(await disks().readNumber([top])).toBe(0x07070707);
    });

    it('go on when the daemon ends, and are taken up by the next one', async () => {
      const layers = await frozen();
      const [, , top] = layers;
      const guest = await launch([disk('data', 0, layers)]);
      const work = { disk: 'data', layer: top.layer, base: undefined };
      const onProgress = (): void => guest.detach();
      await expect(guest.disks.pull(work, { signal: never, onProgress })).rejects.toMatchObject({
        code: 'daemon.stopping',
      });
      const again = await restarted(guest);
      await again.disks.pull(work, { signal: never, onProgress: () => {} });
      expect((await again.disks.chains(never)).get('data')).toEqual([top.layer]);
      await again.kill(never);
      expect(await disks().readNumber([top])).toBe(0x07070707);
    });

    it('say so when the guest ends meanwhile', async () => {
      const layers = await frozen();
      const guest = await launch([disk('data', 0, layers)]);
      const work = { disk: 'data', layer: layers[2].layer, base: undefined };
      const onProgress = (): void => void process.kill(guest.process.pid, 'SIGKILL');
      await expect(guest.disks.pull(work, { signal: never, onProgress })).rejects.toMatchObject({
        code: 'instance.died',
      });
      await guest.exited;
      for (const layer of layers) await disks().check(layer);
    });

    it('into a full file system fail with that reason, and the chain is whole', async ({ skip }) => {
      // Only root may mount one.
      const small = (await disks().smallFileSystem?.()) ?? skip('needs root for a small file system');
      const [base, top] = [await disks().makeFullLayer(16 * mib), await small.makeLayer()];
      const guest = await launch([disk('data', 0, [base, top])]);
      const work = { disk: 'data', layer: top.layer, base: undefined };
      const pull = () => guest.disks.pull(work, { signal: never, onProgress: () => {} });
      await expect(pull()).rejects.toMatchObject({
        code: 'volume.failed',
        cause: { message: expect.stringMatching(/No space left/) },
      });
      expect((await guest.disks.chains(never)).get('data')).toEqual(ids([base, top]));
      await small.makeRoom();
      await pull();
      expect((await guest.disks.chains(never)).get('data')).toEqual([top.layer]);
      await guest.kill(never);
      await disks().check(top);
    });

    it('that are not as was thought are refused', async () => {
      const layer = await makeLayer();
      const guest = await launch([disk('data', 0, [layer])]);
      const pull = guest.disks.pull(
        { disk: 'data', layer: layer.layer, base: 'another' },
        { signal: never, onProgress: () => {} },
      );
      await expect(pull).rejects.toMatchObject({ code: 'volume.failed' });
      await guest.kill(never);
    });
  });
}
