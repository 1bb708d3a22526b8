import { expect, it } from 'vitest';
import { layerIdOf, layerPath, poolPaths, volumeDirectory } from './layout.ts';
import { directoriesTo } from './reach.ts';

const volume = '01J9ZK3W8Y7Q5T2R4M6N8P1000';
const layer = '01J9ZK3W8Y7Q5T2R4M6N8P1001';

it('puts each layer into the folder of its volume', () => {
  const path = layerPath(poolPaths('/srv/pool'), { volume, layer }, 'qcow2');
  expect(path).toBe(`/srv/pool/volumes/${volume}/${layer}.qcow2`);
});

it('makes no path of what is no id', () => {
  for (const bad of [
    '',
    '.',
    '..',
    `${volume}/..`,
    `${volume}\n`,
    volume.toLowerCase(),
    `8${volume.slice(1)}`,
  ]) {
    expect(() => volumeDirectory(poolPaths('/p'), bad)).toThrow('cannot be the id');
    expect(() => layerPath(poolPaths('/p'), { volume, layer: bad }, 'raw')).toThrow('cannot be the id');
  }
});

it('knows a layer by the name of its file', () => {
  expect(layerIdOf(`${layer}.qcow2`)).toBe(layer);
  expect(layerIdOf(`${layer}.raw`)).toBe(layer);
  for (const name of [layer, `${layer}.vmdk`, `.${layer}.raw`, `${layer}.raw.tmp`, 'notes.raw'])
    expect(layerIdOf(name)).toBeUndefined();
});

it('goes through every directory on the way', () => {
  expect(directoriesTo('/srv/pools/a')).toEqual(['/', '/srv', '/srv/pools', '/srv/pools/a']);
  expect(directoriesTo('/')).toEqual(['/']);
});
