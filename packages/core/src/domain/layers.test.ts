// The layers of volumes as a tree, on random trees over several volumes and images.
import type { LayerParent, Volume, VolumeLayer } from '@wirt/api';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  chainOf,
  childrenOf,
  dependentsOf,
  isReadByOthers,
  layerOf,
  spentLayers,
  unneededLayers,
  volumesOnImage,
  withNextLayer,
  withoutLayers,
  withoutNextLayer,
  withParent,
  withPendingLayer,
} from './layers.ts';

function volumeOf(id: string, layers: VolumeLayer[], active: string): Volume {
  return {
    id,
    name: id.toLowerCase(),
    project: 'default',
    labels: {},
    revision: 1,
    createdAt: '2030-01-01T00:00:00.000Z',
    spec: { pool: 'default', format: 'qcow2', sizeBytes: 512, origin: { kind: 'empty' } },
    status: { state: 'ready', active, layers },
  };
}

interface Planted {
  readonly volume: number;
  readonly parent: number;
}

/** Layers that each lie on an earlier one, an image or nothing, whatever volume those are of. */
const forest = fc
  .record({
    layers: fc.array(fc.record({ volume: fc.nat({ max: 3 }), parent: fc.nat({ max: 20 }) }), {
      minLength: 1,
      maxLength: 20,
    }),
    actives: fc.array(fc.nat({ max: 20 }), { minLength: 4, maxLength: 4 }),
    held: fc.array(fc.nat({ max: 20 }), { maxLength: 4 }),
  })
  .map(({ layers, actives, held }) => {
    const idOf = (index: number): string => `L${index}`;
    const parentOf = ({ parent }: Planted, index: number): { parent?: LayerParent } => {
      const below = layers[parent % (index + 1)];
      if (parent % (index + 1) === index || below === undefined)
        return parent % 2 === 0 ? { parent: { image: 'I' } } : {};
      return { parent: { volume: `V${below.volume}`, layer: idOf(parent % (index + 1)) } };
    };
    const all = layers.map((one, index) => ({
      volume: `V${one.volume}`,
      layer: { id: idOf(index), format: 'qcow2' as const, sizeBytes: 512, ...parentOf(one, index) },
    }));
    const volumes = [...new Set(all.map(({ volume }) => volume))].map((id, index) => {
      const own = all.filter(({ volume }) => volume === id).map(({ layer }) => layer);
      return volumeOf(id, own, own[(actives[index] ?? 0) % own.length]?.id ?? '');
    });
    return { volumes, held: new Set(held.map((index) => idOf(index % layers.length))) };
  });

function finder(volumes: readonly Volume[]) {
  return (id: string): Volume | undefined => volumes.find((one) => one.id === id);
}

function idsOf(volumes: readonly Volume[], volume: Volume, layer = volume.status.active): string[] {
  return chainOf(finder(volumes), { volume: volume.id, layer }).map((link) =>
    link.kind === 'image' ? link.image : link.layer.id,
  );
}

/** What all layers of the other volumes lie on. */
function chainsOfOthers(volumes: readonly Volume[], { id: own }: Volume): Set<string> {
  const others = volumes.filter(({ id }) => id !== own);
  return new Set(
    others.flatMap((other) => other.status.layers.flatMap(({ id }) => idsOf(volumes, other, id))),
  );
}

describe('a chain', () => {
  it('ends with its layer, begins with what lies on nothing, and each lies on the one before', () => {
    fc.assert(
      fc.property(forest, ({ volumes }) => {
        for (const volume of volumes) {
          for (const { id } of volume.status.layers) {
            const chain = chainOf(finder(volumes), { volume: volume.id, layer: id });
            const ids = idsOf(volumes, volume, id);
            expect(ids.at(-1)).toBe(id);
            for (const [index, link] of chain.entries()) {
              const parent = link.kind === 'layer' ? link.layer.parent : undefined;
              const below =
                parent === undefined ? undefined : 'image' in parent ? parent.image : parent.layer;
              expect(below).toBe(ids[index - 1]);
            }
          }
        }
      }),
    );
  });

  it('that misses a volume or a layer, or lies on itself, is reported as a defect', () => {
    const lost = volumeOf(
      'V',
      [{ id: 'L', format: 'qcow2', sizeBytes: 1, parent: { volume: 'W', layer: 'M' } }],
      'L',
    );
    expect(() => idsOf([lost], lost)).toThrow('needs volume W');
    expect(() => layerOf(lost, 'M')).toThrow('has no layer M');
    const round = withParent(lost, 'L', { volume: 'V', layer: 'L' });
    expect(() => idsOf([round], round)).toThrow('lies on itself');
  });
});

describe('what lies on a layer', () => {
  it('is exactly what has it as its parent', () => {
    fc.assert(
      fc.property(forest, ({ volumes }) => {
        const onAny = volumes.flatMap((volume) =>
          volume.status.layers.flatMap(({ id }) =>
            childrenOf(volumes, { volume: volume.id, layer: id }).map((child) => child.layer),
          ),
        );
        const withLayerParent = volumes.flatMap(({ status }) =>
          status.layers.filter(({ parent }) => parent !== undefined && 'layer' in parent).map(({ id }) => id),
        );
        expect(onAny.toSorted()).toEqual(withLayerParent.toSorted());
        for (const volume of volumes)
          for (const other of dependentsOf(volumes, volume)) {
            const chains = other.status.layers.map(({ id }) => idsOf(volumes, other, id));
            const own = volume.status.layers.map(({ id }) => id);
            expect(chains.flat().some((id) => own.includes(id))).toBe(true);
          }
      }),
    );
  });

  it('is read by others when it is in the chain of another volume, whatever is between', () => {
    fc.assert(
      fc.property(forest, ({ volumes }) => {
        for (const volume of volumes)
          for (const { id } of volume.status.layers)
            expect(isReadByOthers(volumes, { volume: volume.id, layer: id })).toBe(
              chainsOfOthers(volumes, volume).has(id),
            );
      }),
    );
  });

  it('is told of an image, also of a volume that is still to be made from it', () => {
    const made = volumeOf('V', [{ id: 'L', format: 'qcow2', sizeBytes: 1, parent: { image: 'I' } }], 'L');
    const copy = volumeOf('W', [{ id: 'M', format: 'qcow2', sizeBytes: 1 }], 'M');
    const origin = { kind: 'image', image: 'I', mode: 'full' } as const;
    const copied: Volume = { ...copy, spec: { ...copy.spec, origin } };
    const copying: Volume = { ...copied, status: { ...copied.status, state: 'creating' } };
    const names = (...volumes: Volume[]): string[] => volumesOnImage(volumes, 'I').map(({ id }) => id);
    expect(names(made, copy)).toEqual(['V']);
    expect(names(copied)).toEqual([]);
    expect(names(copying)).toEqual(['W']);
  });
});

describe('the layers that nothing needs', () => {
  it('are under nothing that is written, held or under another volume, and all of those', () => {
    fc.assert(
      fc.property(forest, ({ volumes, held }) => {
        for (const volume of volumes) {
          const gone = unneededLayers(volumes, volume, held);
          const own = volume.status.layers.map(({ id }) => id);
          const others = volumes.filter(({ id }) => id !== volume.id);
          const needed = new Set([
            ...idsOf(volumes, volume),
            ...own.filter((id) => held.has(id)).flatMap((id) => idsOf(volumes, volume, id)),
            ...others.flatMap((other) => other.status.layers.flatMap(({ id }) => idsOf(volumes, other, id))),
          ]);
          expect(gone.toSorted()).toEqual(own.filter((id) => !needed.has(id)).toSorted());
        }
      }),
    );
  });

  it('leave every chain that is needed as it was', () => {
    fc.assert(
      fc.property(forest, ({ volumes, held }) => {
        let now = volumes;
        for (const { id } of volumes) {
          const volume = finder(now)(id);
          if (volume === undefined) continue;
          const pruned = withoutLayers(volume, unneededLayers(now, volume, held));
          now = now.map((one) => (one.id === id ? pruned : one));
        }
        for (const volume of volumes) {
          const kept = finder(now)(volume.id) ?? volume;
          expect(idsOf(now, kept)).toEqual(idsOf(volumes, volume));
        }
      }),
    );
  });
});

describe('the layers that are spent', () => {
  it('are in no chain of another volume, and are neither written nor held', () => {
    fc.assert(
      fc.property(forest, ({ volumes, held }) => {
        for (const volume of volumes) {
          const kept = new Set([...chainsOfOthers(volumes, volume), ...held, volume.status.active]);
          expect(spentLayers(volumes, volume, held).filter((id) => kept.has(id))).toEqual([]);
        }
      }),
    );
  });

  it('are those between two layers of a volume, from the base on', () => {
    const on = (layer: string) => ({ parent: { volume: 'V', layer } });
    const layers = ['L1', 'L2', 'L3'].map((id, index) => ({
      ...{ id, format: 'qcow2' as const, sizeBytes: 1 },
      ...(index === 0 ? {} : on(`L${index}`)),
    }));
    const volume = volumeOf('V', layers, 'L3');
    expect(spentLayers([volume], volume, new Set())).toEqual(['L1', 'L2']);
    const clone = volumeOf('W', [{ id: 'M', format: 'qcow2', sizeBytes: 1, ...on('L2') }], 'M');
    expect(spentLayers([volume, clone], volume, new Set())).toEqual([]);
  });
});

describe('freezing', () => {
  it('puts the next layer on the written one, which may be pending before, and can be called off', () => {
    fc.assert(
      fc.property(forest, ({ volumes }) => {
        for (const volume of volumes) {
          const pending = withPendingLayer(volume, 'N');
          expect(pending.status).toMatchObject({ active: volume.status.active, next: 'N' });
          // Whole but not yet written, it is needed as what it lies on is.
          expect(unneededLayers([pending], pending, new Set())).not.toContain('N');
          expect(withoutNextLayer(pending).status.layers).toEqual(volume.status.layers);
          expect(withoutNextLayer(pending).status.next).toBeUndefined();
          const frozen = withNextLayer(pending, 'N');
          expect(frozen).toEqual(withNextLayer(volume, 'N'));
          const all = volumes.map((one) => (one.id === volume.id ? frozen : one));
          expect(idsOf(all, frozen)).toEqual([...idsOf(volumes, volume), 'N']);
        }
      }),
    );
  });
});
