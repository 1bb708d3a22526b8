import type { Usage } from '@wirt/api';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { disk, idle, idOf, newGuest, port, usageScene, usageStart } from './usage.fixture.ts';
import { rate } from './usage-rates.ts';
import { stepOf, untilMarkMs } from './usage-sampler.ts';

/** The guest that a test set up; an index that is not there is a mistake of the test. */
function at<T>(all: readonly T[], index: number): T {
  const found = all[index];
  if (found === undefined) throw new Error(`There is no number ${index}.`);
  return found;
}

function latest(scene: ReturnType<typeof usageScene>, index = 0): Usage {
  const usage = scene.sampler.latest(idOf(index));
  if (usage === undefined) throw new Error(`Guest ${index} was not sampled.`);
  return usage;
}

describe('a pass', () => {
  it('gives a guest that it sees for the first time counters, and rates of 0', async () => {
    const scene = usageScene(1);
    const guest = at(scene.guests, 0);
    guest.group = { ...idle, cpuSeconds: 100, threads: [{ cpuSeconds: 90, stealSeconds: 2 }] };
    guest.disks = [disk('vda', { readBytes: 5_000, reads: 3 })];
    guest.ports = { nic0: port({ egressBytes: 700 }) };
    await scene.sampler.pass();
    const usage = latest(scene);
    expect(usage.cpu).toMatchObject({ seconds: 100, cores: 0, throttled: 0, stealSeconds: 2, steal: 0 });
    expect(usage.cpu.vcpus).toEqual([{ cores: 0, steal: 0 }]);
    expect(usage.disks).toMatchObject([{ name: 'vda', readBytes: 5_000, readBytesPerSecond: 0 }]);
    expect(usage.nics).toMatchObject([{ name: 'nic0', egressBytes: 700, egressBytesPerSecond: 0 }]);
    expect(usage.memory).toMatchObject({ usedMib: 64, guestMib: 200 });
    expect(usage.stale).toBeUndefined();
  });

  it('makes rates of counters and the time since the pass before, however long that was', async () => {
    const scene = usageScene(1);
    const guest = at(scene.guests, 0);
    await scene.sampler.pass();
    guest.group = {
      ...idle,
      cpuSeconds: 8,
      periods: 80,
      throttledPeriods: 20,
      throttledSeconds: 3,
      pressure: { cpu: 0.25 },
      threads: [{ cpuSeconds: 4, stealSeconds: 2 }],
    };
    guest.disks = [disk('vda', { readBytes: 80_000, writtenBytes: 8_000, reads: 80, writes: 8 })];
    guest.ports = { nic0: port({ ingressBytes: 8_000, egressPackets: 80 }) };
    await scene.passAfter(8_000);
    const { cpu, disks, nics } = latest(scene);
    expect(cpu).toMatchObject({
      cores: 1,
      throttled: 0.25,
      throttledSeconds: 3,
      steal: 0.25,
      pressure: 0.25,
    });
    expect(cpu.vcpus).toEqual([{ cores: 0.5, steal: 0.25 }]);
    expect(disks[0]).toMatchObject({ readBytesPerSecond: 10_000, writtenBytesPerSecond: 1_000 });
    expect(disks[0]).toMatchObject({ readsPerSecond: 10, writesPerSecond: 1 });
    expect(nics[0]).toMatchObject({ ingressBytesPerSecond: 1_000, egressPacketsPerSecond: 10 });
  });

  it('gives 0 for a counter that has gone back, and goes on from there', async () => {
    const scene = usageScene(1);
    const guest = at(scene.guests, 0);
    guest.group = { ...idle, cpuSeconds: 100, threads: [{ cpuSeconds: 90, stealSeconds: 6 }] };
    guest.disks = [disk('vda', { readBytes: 1_000_000 })];
    guest.ports = { nic0: port({ ingressBytes: 1_000 }) };
    await scene.sampler.pass();
    guest.group = { ...idle, cpuSeconds: 1 };
    guest.disks = [disk('vda', { readBytes: 10 })];
    guest.ports = { nic0: port() };
    await scene.passAfter(5_000);
    const { cpu, disks, nics } = latest(scene);
    expect([cpu.cores, cpu.vcpus[0]?.cores, cpu.stealSeconds]).toEqual([0, 0, 6]);
    expect([disks[0]?.readBytesPerSecond, nics[0]?.ingressBytesPerSecond]).toEqual([0, 0]);
    guest.group = { ...idle, cpuSeconds: 6 };
    await scene.passAfter(5_000);
    expect(latest(scene).cpu.cores).toBe(1);
  });

  it('begins anew with a guest that was restarted, also where its counters are higher than before', async () => {
    const scene = usageScene(1);
    const guest = at(scene.guests, 0);
    await scene.sampler.pass();
    guest.guest = newGuest(0, () => guest);
    scene.live.set(idOf(0), guest.guest);
    guest.group = { ...idle, cpuSeconds: 1_000 };
    guest.disks = [disk('vda', { readBytes: 1_000 })];
    await scene.passAfter(5_000);
    expect(latest(scene).cpu.cores).toBe(0);
    expect(latest(scene).disks[0]?.readBytesPerSecond).toBe(0);
  });

  it('follows vCPUs by their threads when some are plugged in or out', async () => {
    const scene = usageScene(1);
    const guest = at(scene.guests, 0);
    guest.threads = [1, 2, 3];
    const threads = [10, 20, 30].map((cpuSeconds) => ({ cpuSeconds, stealSeconds: 1 }));
    guest.group = { ...idle, threads };
    await scene.sampler.pass();
    guest.threads = [1, 3, 4];
    const later = [15, 31, 2].map((cpuSeconds) => ({ cpuSeconds, stealSeconds: 1 }));
    guest.group = { ...idle, threads: later };
    await scene.passAfter(5_000);
    expect(latest(scene).cpu.vcpus.map(({ cores }) => cores)).toEqual([1, 0.2, 0]);
    expect(latest(scene).cpu.stealSeconds).toBe(4);
  });

  it('shows limits as they were read back', async () => {
    const scene = usageScene(1);
    const effective = { cpu: { cores: 1.5 }, memory: { ceilingMib: 512 } };
    scene.change(0, (instance) => ({ ...instance, status: { ...instance.status, limits: { effective } } }));
    await scene.sampler.pass();
    expect(latest(scene).cpu.limitCores).toBe(1.5);
    expect(latest(scene).memory.ceilingMib).toBe(512);
  });

  it('leaves out a guest whose group is gone, and has the others', async () => {
    const scene = usageScene(3);
    await scene.sampler.pass();
    at(scene.guests, 1).group = undefined;
    await scene.passAfter(5_000);
    expect(scene.sampler.latest(idOf(1))).toBeUndefined();
    expect(latest(scene, 2).at).toBe(new Date(usageStart + 5_000).toISOString());
  });

  it('is the same for all who ask while it is under way', async () => {
    const scene = usageScene(1);
    await Promise.all([scene.sampler.pass(), scene.sampler.pass()]);
    expect(scene.sampler.spent.passes).toBe(1);
  });
});

describe('1,000 guests with one stuck', () => {
  it('are all sampled fresh but that one, which has its kernel numbers, and says that it is stale', async () => {
    const scene = usageScene(1_000, { questionsPerTurn: 1_000, patienceMs: 1_000, answerMs: 1_500 });
    const stuck = at(scene.guests, 500);
    stuck.disks = [disk('vda', { readBytes: 77 })];
    await scene.sampler.pass();
    for (const guest of scene.guests) guest.group = { ...idle, cpuSeconds: 5 };
    for (const guest of scene.guests) guest.disks = [disk('vda', { readBytes: 500 })];
    stuck.qemu = 'stuck';
    const startMs = performance.now();
    await scene.passAfter(5_000);
    // The patience of a pass is 1 s, and the guest is stuck for ever.
    expect(performance.now() - startMs).toBeLessThan(5_000);
    const fresh = scene.guests.filter((_guest, index) => {
      const { at: when, cpu, disks, stale } = latest(scene, index);
      const isNew = when === new Date(usageStart + 5_000).toISOString() && cpu.cores === 1;
      return isNew && stale === undefined && disks[0]?.readBytesPerSecond === 100;
    });
    expect(fresh).toHaveLength(999);
    // Its deadline comes later than the patience of the pass.
    await expect
      .poll(() => scene.sampler.pass().then(() => latest(scene, 500).stale), { timeout: 8_000 })
      .toBe(true);
    expect(latest(scene, 500).cpu.seconds).toBe(5);
    expect(latest(scene, 500).disks).toMatchObject([{ readBytes: 77 }]);
  });

  it('are never asked a second time while a question is open, and the stuck one answers again when it can', async () => {
    const scene = usageScene(3);
    const guest = at(scene.guests, 1);
    guest.qemu = 'stuck';
    for (let pass = 0; pass < 5; pass++) await scene.passAfter(5_000);
    expect(guest.mostOpen).toBe(1);
    expect(at(scene.guests, 0).asked).toBe(5);
  });

  it('do not wait again for one that was silent last time', async () => {
    const scene = usageScene(2, { answerMs: 20, patienceMs: 10_000 });
    const silent = at(scene.guests, 0);
    await scene.sampler.pass();
    silent.qemu = 'fails';
    await scene.passAfter(5_000);
    expect(latest(scene, 0).stale).toBe(true);
    expect(latest(scene, 0).disks).toHaveLength(1);
    silent.qemu = 'answers';
    await scene.passAfter(5_000);
    await expect.poll(() => scene.passAfter(5_000).then(() => latest(scene, 0).stale)).toBeUndefined();
    expect(latest(scene, 1).stale).toBeUndefined();
  });

  it('are not asked at all while they are known to be unresponsive', async () => {
    const scene = usageScene(1);
    const guest = at(scene.guests, 0);
    guest.responsive = false;
    await scene.sampler.pass();
    expect([guest.mostOpen, latest(scene).stale]).toEqual([0, true]);
  });

  it('are not held up by more silent ones than there are places for questions', async () => {
    const scene = usageScene(60, { answerMs: 400, patienceMs: 100 });
    const [first, last] = [at(scene.guests, 0), at(scene.guests, 59)];
    await scene.sampler.pass();
    for (const guest of scene.guests.slice(0, 30)) guest.qemu = 'deaf';
    const settled = () => scene.guests.reduce((sum, { open }) => sum + open, 0);
    await scene.passAfter(5_000);
    await expect.poll(settled, { timeout: 5_000 }).toBe(0);
    await expect.poll(() => last.asked).toBe(2);
    await scene.passAfter(5_000);
    expect([first.asked, last.asked]).toEqual([1, 3]);
    expect([latest(scene, 0).stale, latest(scene, 59).stale]).toEqual([true, undefined]);
  });

  it('are not asked a second time by somebody who looks at them while a question is open', async () => {
    const scene = usageScene(1, { answerMs: 20 });
    const guest = at(scene.guests, 0);
    guest.qemu = 'stuck';
    await Promise.all([scene.sampler.look(guest.guest), scene.sampler.look(guest.guest)]);
    await scene.sampler.look(guest.guest);
    expect(guest.mostOpen).toBe(1);
  });
});

describe('questions to QEMU', () => {
  it('go to so many guests in a pass, those first that were not asked for longest', async () => {
    const scene = usageScene(10, { questionsPerTurn: 4 });
    for (let pass = 0; pass < 5; pass++) await scene.passAfter(5_000);
    expect(scene.guests.map(({ asked }) => asked)).toEqual(Array(10).fill(2));
  });

  it('go to a guest that somebody looks at in each pass', async () => {
    const scene = usageScene(10, { questionsPerTurn: 2 });
    for (let pass = 0; pass < 4; pass++) {
      scene.sampler.watch(idOf(7));
      await scene.passAfter(5_000);
    }
    expect(at(scene.guests, 7).asked).toBe(4);
    // Nobody looks any more.
    for (let pass = 0; pass < 4; pass++) await scene.passAfter(5_000);
    expect(at(scene.guests, 7).asked).toBeLessThan(8);
  });

  it('give true means over the time between two answers, when their turn comes rarely', async () => {
    const scene = usageScene(10, { questionsPerTurn: 1 });
    const guest = at(scene.guests, 0);
    await scene.passAfter(5_000);
    guest.disks = [disk('vda', { readBytes: 1_000_000 })];
    for (let pass = 0; pass < 9; pass++) {
      await scene.passAfter(5_000);
      expect(latest(scene).disks[0]?.readBytesPerSecond).toBe(0);
    }
    await scene.passAfter(5_000);
    expect(latest(scene).disks[0]?.readBytesPerSecond).toBe(20_000);
    expect(latest(scene).stale).toBeUndefined();
  });
});

describe('the history', () => {
  it('is told of each pass but a guest’s first, on the 5 s, of disks and cards together', async () => {
    const scene = usageScene(2);
    const guest = at(scene.guests, 0);
    guest.disks = [disk('vda'), disk('vdb')];
    await scene.passAfter(40);
    guest.disks = [disk('vda', { readBytes: 10_000 }), disk('vdb', { readBytes: 20_000 })];
    await scene.passAfter(5_000);
    expect(scene.added).toHaveLength(1);
    expect([...(scene.added[0]?.keys() ?? [])]).toEqual([idOf(0), idOf(1)]);
    expect(scene.added[0]?.get(idOf(0))).toMatchObject({
      atMs: usageStart + 5_000,
      diskReadBytesPerSecond: 6_000,
      memoryUsedMib: 64,
      cpuPressure: 0,
    });
  });

  it('has no disk rates of a guest that is stale, and those of its next answer', async () => {
    const scene = usageScene(1);
    const guest = at(scene.guests, 0);
    const kept = () => scene.added.at(-1)?.get(idOf(0));
    guest.disks = [disk('vda')];
    await scene.sampler.pass();
    guest.disks = [disk('vda', { readBytes: 10_000, writtenBytes: 5_000, reads: 50, writes: 25 })];
    await scene.passAfter(5_000);
    expect(kept()).toMatchObject({ diskReadBytesPerSecond: 2_000, diskWritesPerSecond: 5 });
    guest.responsive = false;
    guest.ports = { nic0: port({ ingressBytes: 5_000 }) };
    await scene.passAfter(5_000);
    guest.ports = { nic0: port({ ingressBytes: 10_000 }) };
    await scene.passAfter(5_000);
    expect(kept()).toMatchObject({
      diskReadBytesPerSecond: 0,
      diskWrittenBytesPerSecond: 0,
      diskReadsPerSecond: 0,
      diskWritesPerSecond: 0,
      // The kernel tells these, whatever QEMU does.
      ingressBytesPerSecond: 1_000,
    });
    expect(latest(scene).stale).toBe(true);
    guest.responsive = true;
    guest.disks = [disk('vda', { readBytes: 40_000 })];
    await scene.passAfter(5_000);
    expect(kept()?.diskReadBytesPerSecond).toBe(2_000);
  });

  it('that cannot be written is told once, and again when it can; passes go on', async () => {
    const scene = usageScene(1);
    scene.history = {
      add: () => {
        throw new Error('full');
      },
    };
    for (let pass = 0; pass < 4; pass++) await scene.passAfter(5_000);
    expect(scene.logged).toEqual(['usage.history_failed']);
    expect(latest(scene).at).toBe(new Date(usageStart + 20_000).toISOString());
    scene.history = {};
    await scene.passAfter(5_000);
    await scene.passAfter(5_000);
    expect(scene.logged).toEqual(['usage.history_failed', 'usage.history_failed over']);
  });

  it('of instances that are gone is removed when the sampler starts', async () => {
    const scene = usageScene(1);
    const gone: string[] = [];
    scene.history = {
      list: async () => [idOf(0), idOf(5)],
      forget: async (id) => {
        gone.push(id);
      },
    };
    scene.sampler.start();
    await expect.poll(() => gone).toEqual([idOf(5)]);
    scene.sampler.stop();
  });
});

describe('the times of passes', () => {
  it('are the 5 s of the clock, whatever a pass took and when the timer fired', () => {
    const now = fc.integer({ min: 0, max: 10 ** 9 });
    fc.assert(
      fc.property(now, (ms) => {
        const iso = new Date(usageStart + ms).toISOString();
        const waitMs = untilMarkMs(iso);
        expect(waitMs).toBeGreaterThanOrEqual(2_500);
        expect(waitMs).toBeLessThanOrEqual(7_500);
        expect((ms + waitMs) % 5_000).toBe(0);
        // A pass that begins a little early or up to 2 s late is of that mark.
        const mark = usageStart + ms + waitMs;
        for (const late of [-20, 0, 900, 2_000])
          expect(stepOf(new Date(mark + late).toISOString())).toBe(mark);
      }),
    );
  });
});

describe('a rate', () => {
  it('is never negative, infinite or no number', () => {
    const any = fc.double();
    fc.assert(
      fc.property(any, fc.option(any, { nil: undefined }), any, (now, before, seconds) => {
        const found = rate(now, before, seconds);
        expect(Number.isFinite(found) && found >= 0).toBe(true);
      }),
    );
  });
});

describe('a driver that gives nonsense', () => {
  it('spoils no answer: numbers that are none are 0', async () => {
    const scene = usageScene(1);
    const guest = at(scene.guests, 0);
    guest.group = { ...idle, cpuSeconds: Number.NaN, memoryBytes: -1, pressure: { cpu: Number.NaN } };
    guest.disks = [disk('vda', { readBytes: Number.NaN, reads: 1.5 })];
    await scene.sampler.pass();
    const { cpu, memory, disks } = latest(scene);
    expect([cpu.seconds, cpu.pressure, memory.usedMib, disks[0]?.readBytes, disks[0]?.reads]).toEqual([
      0, 0, 0, 0, 0,
    ]);
  });

  it('or throws for one guest, takes the usage of that one only', async () => {
    const scene = usageScene(2);
    Object.defineProperty(at(scene.guests, 0), 'group', {
      get: () => {
        throw new Error('torn file');
      },
    });
    await scene.sampler.pass();
    await scene.passAfter(5_000);
    expect(scene.sampler.latest(idOf(0))).toBeUndefined();
    expect(latest(scene, 1).cpu.seconds).toBe(0);
    expect(scene.logged).toEqual(['usage.sample_failed']);
  });
});
