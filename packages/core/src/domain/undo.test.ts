import { describe, expect, it } from 'vitest';
import { Undo } from './undo.ts';

describe('the undo stack', () => {
  it('takes everything back, newest first, when its scope is left', async () => {
    const undone: number[] = [];
    {
      await using undo = new Undo(() => undefined);
      for (const step of [1, 2, 3]) undo.add(async () => void undone.push(step));
    }
    expect(undone).toEqual([3, 2, 1]);
  });

  it('takes nothing back once released', async () => {
    const undone: number[] = [];
    {
      await using undo = new Undo(() => undefined);
      undo.add(async () => void undone.push(1));
      undo.release();
    }
    expect(undone).toEqual([]);
  });

  it('goes on past an undo that fails, and tells of it', async () => {
    const undone: number[] = [];
    const errors: unknown[] = [];
    const undo = new Undo((error) => errors.push(error));
    undo.add(async () => void undone.push(1));
    undo.add(() => Promise.reject(new Error('stuck')));
    await undo.run();
    expect(undone).toEqual([1]);
    expect(errors).toEqual([new Error('stuck')]);
  });
});
