import type { DiskSource } from '@wirt/core';
import { expect, it } from 'vitest';
import { namedNodes, nestedNode } from './nodes.ts';

const layer = (name: string, format: 'qcow2' | 'raw'): DiskSource['layers'][number] => ({
  layer: name,
  format,
  location: { driver: 'file', path: `/p, q/json:${name}` },
  direct: true,
});
const source = { layers: [layer('base', 'raw'), layer('middle', 'qcow2'), layer('top', 'qcow2')] };
const file = (name: string) => ({ driver: 'file', filename: `/p, q/json:${name}` });

it('names every layer, its format and what is under it', () => {
  expect(nestedNode(source)).toEqual({
    driver: 'qcow2',
    file: file('top'),
    backing: { driver: 'qcow2', file: file('middle'), backing: { driver: 'raw', file: file('base') } },
  });
});

it('says that a lone image has nothing under it', () => {
  expect(nestedNode({ layers: [layer('one', 'qcow2')] })).toEqual({
    driver: 'qcow2',
    file: file('one'),
    backing: null,
  });
});

it('opens all but the last layer for reading', () => {
  expect(namedNodes(source)).toEqual([
    {
      driver: 'raw',
      'node-name': 'layer0',
      'read-only': true,
      file: { ...file('base'), 'node-name': 'file0', 'read-only': true },
    },
    {
      driver: 'qcow2',
      'node-name': 'layer1',
      'read-only': true,
      file: { ...file('middle'), 'node-name': 'file1', 'read-only': true },
      backing: 'layer0',
    },
    {
      driver: 'qcow2',
      'node-name': 'layer2',
      'read-only': false,
      file: { ...file('top'), 'node-name': 'file2', 'read-only': false },
      backing: 'layer1',
    },
  ]);
});
