// How a guest is frozen for a snapshot and thawed again, and QEMU that fails to switch to new layers.
import { WirtError } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { atEveryCall, everyDeath } from '../fakes/scene.ts';
import { processOf, restore, set, shown, stop, take } from './snapshot.fixture.ts';

describe('freezing the guest', () => {
  it('is done and told where its agent answers, and it is thawed', async () => {
    const scene = await set(true, true);
    await take(scene, 'one');
    expect((await shown(scene, 'one')).status).toMatchObject({ consistency: 'frozen' });
    expect((await shown(scene, 'one')).status.consistencyReason).toBeUndefined();
    expect((await processOf(scene)).frozen).toBe(false);
  });

  it('is not done without an agent, of a paused guest, when not wanted, or of one that is stopped: it says so', async () => {
    const scene = await set(true);
    await take(scene, 'no-agent');
    (await processOf(scene)).agent = true;
    await take(scene, 'unwanted', 'none');
    await scene.fake.core.actions.instance.pause(scene.fake.request, 'web');
    await take(scene, 'paused');
    await expect(take(scene, 'required', 'required')).rejects.toMatchObject({
      code: 'guest.agent_unavailable',
    });
    await stop(scene);
    await take(scene, 'stopped', 'required');
    const told = async (name: string) => {
      const { consistency, consistencyReason = '' } = (await shown(scene, name)).status;
      return `${consistency}: ${consistencyReason}`;
    };
    expect(await told('no-agent')).toBe('crash: No guest agent answers in the guest.');
    expect(await told('unwanted')).toBe('crash: Freezing was not asked for.');
    expect(await told('paused')).toBe('crash: The guest is paused, and its agent with it.');
    expect(await told('stopped')).toBe('stopped: ');
    await expect(shown(scene, 'required')).rejects.toMatchObject({ code: 'snapshot.not_found' });
    expect(await scene.faults()).toEqual([]);
  });

  it.each(['auto', 'required'] as const)('that fails leaves the guest thawed: %s', async (freeze) => {
    const scene = await set(true, true);
    const process = await processOf(scene);
    process.freeze = () => Promise.reject(new WirtError('guest.agent_timeout', 'The agent hangs.'));
    const taken = take(scene, 'one', freeze);
    if (freeze === 'required') await expect(taken).rejects.toMatchObject({ code: 'guest.agent_timeout' });
    else await taken;
    expect(process.frozen).toBe(false);
    if (freeze === 'auto')
      expect((await shown(scene, 'one')).status).toMatchObject({
        consistency: 'crash',
        consistencyReason: 'The agent hangs.',
      });
    expect(await scene.faults()).toEqual([]);
  });

  it.each(['auto', 'required'] as const)('that finds nothing to freeze froze nothing: %s', async (freeze) => {
    const scene = await set(true, true);
    const process = await processOf(scene);
    process.freeze = () => Promise.resolve(0);
    const taken = take(scene, 'one', freeze);
    if (freeze === 'required') {
      await expect(taken).rejects.toMatchObject({ code: 'guest.command_failed' });
      await expect(shown(scene, 'one')).rejects.toMatchObject({ code: 'snapshot.not_found' });
    } else {
      await taken;
      expect((await shown(scene, 'one')).status).toMatchObject({
        consistency: 'crash',
        consistencyReason: 'The guest agent found no file system that it could freeze.',
      });
    }
    expect(process.frozen).toBe(false);
    await scene.write('a', 'p', 'second');
    expect(await scene.faults()).toEqual([]);
  });

  it.each([
    { freeze: 'auto', refusals: 0 },
    { freeze: 'auto', refusals: 1 },
    { freeze: 'required', refusals: 0 },
    { freeze: 'required', refusals: 1 },
  ] as const)(
    'of a guest that had thawed by itself is not called so: $freeze, refused $refusals times',
    async ({ freeze, refusals }) => {
      const scene = await set(true, true);
      let asked = 0;
      (await processOf(scene)).thaw = () => {
        asked += 1;
        return asked <= refusals
          ? Promise.reject(new WirtError('guest.command_failed', 'Writes are held for 10 s at most.'))
          : Promise.resolve(0);
      };
      const taken = take(scene, 'one', freeze);
      if (freeze === 'required') {
        await expect(taken).rejects.toMatchObject({ code: 'guest.command_failed' });
        await expect(shown(scene, 'one')).rejects.toMatchObject({ code: 'snapshot.not_found' });
      } else {
        await taken;
        expect((await shown(scene, 'one')).status).toMatchObject({
          consistency: 'crash',
          consistencyReason: 'The file systems of the guest had thawed before they were told to.',
        });
      }
      // Where it was not to be, the disks had switched to new layers all the same, which are merged away.
      await scene.settled();
      expect((await scene.volumeOf('a')).status.layers).toHaveLength(freeze === 'required' ? 1 : 2);
      await scene.write('a', 'p', 'second');
      expect(await scene.content('a')).toEqual({ p: 'second' });
      expect(await scene.faults()).toEqual([]);
    },
  );

  it('whose thaw is not answered spoils no snapshot: the guest goes on with its new layers', async () => {
    const scene = await set(true, true);
    (await processOf(scene)).thaw = () => Promise.reject(new WirtError('guest.agent_timeout', 'No.'));
    await take(scene, 'one');
    expect((await shown(scene, 'one')).status).toMatchObject({
      consistency: 'frozen',
      consistencyReason: 'The guest did not say that its file systems have thawed.',
    });
    await scene.write('a', 'p', 'second');
    expect(await scene.faults()).toEqual([]);
  });

  it('is undone when the snapshot is cancelled while the agent keeps it waiting', async () => {
    const scene = await set(true, true);
    const process = await processOf(scene);
    const asked = Promise.withResolvers<void>();
    process.freeze = (signal) =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
        asked.resolve();
      });
    const { fake } = scene;
    const none = { wait: 'none', waitSeconds: 5 } as const;
    const input = { name: 'one', labels: {}, freeze: 'auto' } as const;
    const { id } = await fake.core.actions.snapshot.create(fake.request, 'web', input, none);
    await asked.promise;
    await fake.core.actions.operation.cancel(fake.request, id);
    expect((await fake.core.actions.operation.get(fake.request, id, 5)).state).toBe('cancelled');
    expect(process.frozen).toBe(false);
    expect(await scene.faults()).toEqual([]);
  });

  it('is undone by the next daemon, wherever this one dies', async () => {
    await atEveryCall(
      everyDeath,
      async () => ({ scene: await set(true, true) }),
      ({ scene }) => take(scene, 'one'),
      async ({ scene }) => {
        expect((await processOf(scene)).frozen).toBe(false);
      },
    );
  });
});

describe('QEMU that fails to switch', () => {
  it.each(['before', 'after'] as const)(
    'lets no clone come, nor a later one fail: failing %s it has done so',
    async (when) => {
      const scene = await set(true);
      const process = await processOf(scene);
      const clone = () => scene.volume('twin', { source: { kind: 'volume', volume: 'a', mode: 'linked' } });
      process.overlayFails = { when, error: new WirtError('instance.unresponsive', 'QEMU is silent.') };
      await expect(clone()).rejects.toMatchObject({ code: 'instance.unresponsive' });
      expect(await scene.faults()).toEqual([]);
      process.overlayFails = undefined;
      await clone();
      expect(await scene.content('twin')).toEqual({ p: 'first' });
      expect(await scene.faults()).toEqual([]);
    },
  );

  it.each(['before', 'after'] as const)(
    'leaves all as it was, or in place: failing %s it has done so',
    async (when) => {
      const scene = await set(true);
      const process = await processOf(scene);
      process.overlayFails = { when, error: new WirtError('instance.unresponsive', 'QEMU is silent.') };
      await expect(take(scene, 'one')).rejects.toMatchObject({ code: 'instance.unresponsive' });
      process.overlayFails = undefined;
      await scene.settled();
      expect((await scene.volumeOf('a')).status.layers).toHaveLength(1);
      await scene.write('a', 'p', 'second');
      expect(await scene.content('a')).toEqual({ p: 'second' });
      expect(await scene.faults()).toEqual([]);
      await take(scene, 'one');
      await stop(scene);
      await scene.write('a', 'p', 'third');
      await restore(scene, 'one');
      expect(await scene.content('a')).toEqual({ p: 'second' });
      expect(await scene.faults()).toEqual([]);
    },
  );
});

describe('a guest that was left frozen', () => {
  it('thaws before its agent is known to the next daemon', async () => {
    const scene = await set(true, true);
    const process = await processOf(scene);
    const whole = await set(true, true);
    whole.fake.cut(undefined);
    await take(whole, 'one');
    scene.fake.cut({ call: whole.fake.calls.indexOf('guest.agent.freeze'), how: 'after' });
    void take(scene, 'one').catch(() => undefined);
    await scene.fake.died();
    expect(process.frozen).toBe(true);
    process.agent = false;
    await scene.fake.restart();
    await scene.settled();
    expect(process.frozen).toBe(false);
    expect((await shown(scene, 'one')).status).toMatchObject({ consistency: 'crash' });
  });
});
