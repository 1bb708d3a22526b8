import { join } from 'node:path';
import { expect, it } from 'vitest';
import { KeptFiles, OpenFile, spareDescriptors } from './open-files.ts';
import { makeTree } from './tree.fixture.ts';

it('keeps no more files open than it may, and reads the others all the same', () => {
  using tree = makeTree({ one: '1', two: '2' });
  const descriptors = { left: 1 };
  const [one, two] = ['one', 'two'].map((name) => new OpenFile(join(tree.root, name), descriptors));
  expect([one?.read(), two?.read(), descriptors.left]).toEqual(['1', '2', 0]);
  tree.write({ one: '11', two: '22' });
  expect([one?.read(), two?.read()]).toEqual(['11', '22']);
  one?.close();
  one?.close();
  expect(descriptors.left).toBe(1);
});

it('gives back what it held for a guest, and looks again for what was not there', () => {
  using tree = makeTree({ one: '1' });
  const descriptors = { left: 10 };
  const kept = new KeptFiles(descriptors);
  const late = join(tree.root, 'late');
  expect([kept.readerOf('a')(join(tree.root, 'one')), kept.readerOf('a')(late)]).toEqual(['1', undefined]);
  expect(descriptors.left).toBe(9);
  tree.write({ late: 'now' });
  expect(kept.readerOf('a')(late)).toBeUndefined();
  kept.forget('a');
  kept.forget('b');
  expect(descriptors.left).toBe(10);
  expect(kept.readerOf('a')(late)).toBe('now');
  kept.forget('a');
});

it('leaves the rest of the daemon half of its descriptors', () => {
  using tree = makeTree({
    limits: 'Limit  Soft Limit\nMax open files            4096                 524288\n',
  });
  expect(spareDescriptors(join(tree.root, 'limits'))).toEqual({ left: 2048 });
  expect(spareDescriptors().left).toBeGreaterThan(100);
});
