// Who may open the layers of volumes: what several guests read, none of them is let write.
import { expect, it } from 'vitest';
import { createVolumeLayers } from './volume-layers.ts';

const identity = { uid: 1, gid: 1, groups: [], own: true };

it('a layer is let be written that its volume alone reads, and none below a clone', async () => {
  const on = (layer: string) => ({ parent: { volume: 'V', layer } });
  const layersOf = {
    V: [{ id: 'F1' }, { id: 'F2', ...on('F1') }, { id: 'F3', ...on('F2') }, { id: 'A', ...on('F3') }],
    // A linked clone.
    W: [{ id: 'C', ...on('F2') }],
  };
  const all = Object.entries(layersOf).map(([id, layers]) => ({
    id,
    spec: { pool: 'fast' },
    status: { layers },
  }));
  const granted: string[] = [];
  const grant = async ({ layer }: { readonly layer: string }): Promise<void> => void granted.push(layer);
  // Only what access is asked of.
  const { widen } = createVolumeLayers({
    volumes: { after: () => all, require: (id: string) => all.find((one) => one.id === id) },
    storage: { open: async () => ({ grant }) },
  } as unknown as Parameters<typeof createVolumeLayers>[0]);
  for (const layer of ['F1', 'F2'])
    await expect(widen({ volume: 'V', layer }, identity)).rejects.toThrow('other volumes read it');
  await widen({ volume: 'V', layer: 'F3' }, identity);
  expect(granted).toEqual(['F3']);
});
