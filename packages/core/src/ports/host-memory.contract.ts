// What every HugePageReserve must do: set what a node holds, say what there is then, and never take a page in use.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { HugePageReserve, NodePages } from './host-memory.ts';

export interface HugePageReserveUnderTest {
  readonly reserve: HugePageReserve;
  /** A pool to try with, of which at least `spare` more can be had. */
  readonly node: number;
  readonly sizeKib: number;
  readonly spare: number;
  /** A process takes so many pages of the pool, and lets go of them when told; undefined: none can be run here. */
  hold?(count: number): Promise<{ letGo(): Promise<void> }>;
  destroy(): Promise<void>;
}

export function hugePageReserveContract(name: string, make: () => Promise<HugePageReserveUnderTest>): void {
  describe(`${name} as HugePageReserve`, () => {
    let under: HugePageReserveUnderTest;
    let reserve: HugePageReserve;
    let before: NodePages;
    const signal = (): AbortSignal => AbortSignal.timeout(30_000);
    const now = async (): Promise<NodePages> => {
      const found = (await reserve.pages(signal())).find(
        ({ node, sizeKib }) => node === under.node && sizeKib === under.sizeKib,
      );
      if (found === undefined) throw new Error(`no pool of ${under.sizeKib} KiB on node ${under.node}`);
      return found;
    };
    const set = (total: number): Promise<number> =>
      reserve.setTotal(under.node, under.sizeKib, total, signal());

    beforeEach(async () => {
      under = await make();
      reserve = under.reserve;
      before = await now();
    });

    afterEach(async () => {
      await set(before.total - before.surplus);
      await under.destroy();
    });

    it('tells the pools by node and size, each once', async () => {
      const pools = await reserve.pages(signal());
      const order = pools.map(({ node, sizeKib }) => [node, sizeKib] as const);
      expect(order).toEqual(order.toSorted((a, b) => a[0] - b[0] || a[1] - b[1]));
      expect(new Set(order.map(String)).size).toBe(pools.length);
      for (const { total, free, surplus } of pools) {
        expect(total).toBeGreaterThanOrEqual(free);
        expect(total).toBeGreaterThanOrEqual(surplus);
      }
    });

    it('reserves pages, and gives them back', async () => {
      expect(await set(before.total + under.spare)).toBe(before.total + under.spare);
      expect(await now()).toMatchObject({
        total: before.total + under.spare,
        free: before.free + under.spare,
      });
      expect(await set(before.total)).toBe(before.total);
      expect(await now()).toEqual(before);
    });

    it('has nothing to do for what is so already', async () => {
      expect(await set(before.total)).toBe(before.total);
      expect(await now()).toEqual(before);
    });

    it('never takes pages in use: they are surplus, and go with their user', async ({ skip }) => {
      if (under.hold === undefined) return skip('nothing can hold huge pages here');
      await set(before.total + under.spare);
      const held = 2;
      const holder = await under.hold(held);
      const inUse = before.total - before.free + held;
      try {
        expect(await set(0)).toBe(inUse);
        expect(await now()).toMatchObject({ total: inUse, free: 0, surplus: inUse });
        // As many as there are: they are no surplus any more.
        expect(await set(inUse)).toBe(inUse);
        expect(await now()).toMatchObject({ total: inUse, free: 0, surplus: 0 });
        // More than what is in use again: nothing is surplus.
        expect(await set(inUse + 1)).toBe(inUse + 1);
        expect(await now()).toMatchObject({ total: inUse + 1, free: 1, surplus: 0 });
        expect(await set(inUse - 1)).toBe(inUse);
        expect(await now()).toMatchObject({ total: inUse, free: 0, surplus: 1 });
      } finally {
        await holder.letGo();
      }
      expect(await now()).toMatchObject({ total: inUse - 1, free: held - 1, surplus: 0 });
    });

    it('has none on a node, or of a size, that is not there', async () => {
      expect(await reserve.setTotal(4095, under.sizeKib, 2, signal())).toBe(0);
      expect(await reserve.setTotal(under.node, 12, 2, signal())).toBe(0);
      expect(await reserve.setTotal(4095, under.sizeKib, 0, signal())).toBe(0);
    });

    it('sets nothing when told to give up', async () => {
      const giveUp = AbortSignal.abort(new Error('enough'));
      await expect(reserve.setTotal(under.node, under.sizeKib, before.total + 1, giveUp)).rejects.toThrow(
        'enough',
      );
      await expect(reserve.pages(giveUp)).rejects.toThrow('enough');
      expect(await now()).toEqual(before);
    });
  });
}
