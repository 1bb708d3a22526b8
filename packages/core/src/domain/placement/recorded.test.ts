// What guests get on hosts that exist. What holds on all of them whatever runs there is in plan-properties.test.ts.
import { describe, expect, it } from 'vitest';
import type { Placement } from './placement.ts';
import { planPlacement } from './plan.ts';
import { recordedHosts } from './recorded.fixture.ts';
import { requestOf } from './topology.fixture.ts';
import type { HostNode, HostTopology } from './topology.ts';

function placed(host: HostTopology, part: Parameters<typeof requestOf>[0]): Placement {
  const result = planPlacement(requestOf(part), { host, holdings: [] });
  if (result.kind === 'refused') throw new Error(result.refusal.message);
  return result.placement;
}

const cpusOn = ({ cpus }: HostTopology, node: number): number =>
  cpus.filter((cpu) => cpu.node === node).length;
const freeOn = ({ freeMib, totalMib }: HostNode): number => Math.min(freeMib, totalMib);
const memoryBy = ({ guestNodes }: Placement): unknown =>
  guestNodes.map(({ hostNode, memoryMib, vcpus }) => [hostNode, memoryMib, vcpus.length]);

describe.each(Object.entries(recordedHosts))('the recorded host %s', (_, host) => {
  it('has each processor once, and its cores whole on one node and socket', () => {
    const ids = host.cpus.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    const places = new Map(host.cpus.map(({ core, node, socket }) => [core, `${node}.${socket}`]));
    for (const { core, node, socket } of host.cpus) expect(places.get(core)).toBe(`${node}.${socket}`);
    const rows = host.nodes.map(({ id, distances }) => [distances[id], Object.keys(distances).length]);
    for (const row of rows)
      expect([
        [10, host.nodes.length],
        [undefined, 0],
      ]).toContainEqual(row);
  });

  it('holds on one node what is just as large as that, and on more what is larger', () => {
    const both = host.nodes.filter((node) => node.totalMib > 0 && cpusOn(host, node.id) > 0);
    for (const node of both) {
      const maxCpus = cpusOn(host, node.id);
      const fits = placed(host, { maxCpus, memoryMib: freeOn(node) });
      expect(fits.nodes).toHaveLength(1);
      const most = Math.max(...both.map(freeOn));
      const wide = planPlacement(requestOf({ maxCpus, memoryMib: most + 1 }), { host, holdings: [] });
      if (wide.kind === 'placed') expect(wide.placement.nodes.length).toBeGreaterThan(1);
      else expect(host.nodes.filter(({ totalMib }) => totalMib > 0)).toHaveLength(1);
    }
  });

  it('holds a guest of all its processors and memory, which is told the distances that the host tells', () => {
    const memoryMib = host.nodes.reduce((sum, node) => sum + freeOn(node), 0);
    const { guestNodes } = placed(host, { maxCpus: host.cpus.length, memoryMib: Math.max(1, memoryMib) });
    if (memoryMib === 0) return expect(guestNodes[0]?.hostNode).toBeUndefined();
    const withMemory = host.nodes.filter((node) => freeOn(node) > 0);
    expect(new Set(guestNodes.map(({ hostNode }) => hostNode))).toEqual(
      new Set(withMemory.map(({ id }) => id)),
    );
    for (const { hostNode, distances } of guestNodes) {
      const from = withMemory.find(({ id }) => id === hostNode);
      const told = guestNodes.map((to) =>
        to.hostNode === hostNode ? 10 : (from?.distances[to.hostNode ?? -1] ?? 20),
      );
      expect(distances).toEqual(told);
    }
  });
});

describe('a guest on', () => {
  it('eight sockets that needs two has two that are next to each other, and of four a whole half', () => {
    const host = recordedHosts.eightSockets;
    expect(placed(host, { maxCpus: 40, memoryMib: 4096 }).guestNodes.map((each) => each.distances)).toEqual([
      [10, 12],
      [12, 10],
    ]);
    expect(placed(host, { maxCpus: 80, memoryMib: 4096 }).nodes).toEqual([4, 5, 6, 7]);
  });

  it('a ring of four never has two that are across from each other', () => {
    const { guestNodes } = placed(recordedHosts.ring, { maxCpus: 112, memoryMib: 300_000 });
    expect(guestNodes.map(({ distances }) => distances)).toEqual([
      [10, 16],
      [16, 10],
    ]);
  });

  it('POWER8 has processors of the node without memory that is beside its memory', () => {
    const placement = placed(recordedHosts.power8, { maxCpus: 8, memoryMib: 20_480 });
    expect(placement.nodes).toEqual([0, 1]);
    expect(memoryBy(placement)).toEqual([[0, 20_480, 8]]);
    expect(placement.groupCpus).toEqual([0, 8, 16, 24, 32, 40, 48, 56, 64, 72]);
  });

  it('POWER9 has no memory of an accelerator while there is other', () => {
    const host = recordedHosts.power9;
    expect(placed(host, { maxCpus: 128, memoryMib: 480_000 }).nodes).toEqual([0, 8]);
    expect(placed(host, { maxCpus: 4, memoryMib: 300_000 }).nodes).toEqual([0, 8]);
    expect(placed(host, { maxCpus: 128, memoryMib: 500_000 }).nodes).toEqual([0, 8, 252]);
  });

  it('a Threadripper has its memory where there is any, and its processors there first', () => {
    const placement = placed(recordedHosts.threadripper, { maxCpus: 12, memoryMib: 16_384 });
    expect(placement.nodes).toEqual([1]);
    expect(placed(recordedHosts.threadripper, { maxCpus: 48, memoryMib: 16_384 }).nodes).toEqual([
      0, 1, 2, 3,
    ]);
  });

  it('a host that tells of no memory runs anywhere, and may have cores of its own', () => {
    const placement = placed(recordedHosts.withoutMemory, { maxCpus: 8, memoryMib: 4096, dedicated: true });
    expect(placement.nodes).toEqual([]);
    expect(placement.dedicated).toHaveLength(8);
  });

  it('a notebook has whole cores for itself, of two threads each while there are some', () => {
    const eight = placed(recordedHosts.notebook, { maxCpus: 8, memoryMib: 4096, dedicated: true });
    expect(eight.dedicated).toEqual([2, 3, 4, 5, 6, 7, 8, 9]);
    const more = placed(recordedHosts.notebook, { maxCpus: 13, memoryMib: 4096, dedicated: true });
    expect(more.topology.threads).toBe(1);
  });

  it('a host whose node 0 is offline is on the one that is there', () => {
    const placement = placed(recordedHosts.withoutNode0, { maxCpus: 17, memoryMib: 65_536 });
    expect(placement.nodes).toEqual([1]);
    expect(placement.groupCpus).toEqual(recordedHosts.withoutNode0.cpus.map(({ id }) => id));
  });
});
