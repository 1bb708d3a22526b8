// What `wirt show --tuning` tells: every setting once, who chose it, and what a host with more would give.
import type { Instance, InstancePlacement, Tuning, TuningSetting } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { explainTuning, profileName, type TuningGround } from './explain.ts';

function guest(tuning?: Tuning, more: Partial<Instance['spec']> = {}): Instance {
  const parts = { nics: [{ name: 'nic0', model: 'virtio' }], disks: [] };
  const shape = { cpus: 2, memoryMib: 1024, machine: 'q35', accelerator: 'auto', overcommit: false };
  const spec = { ...shape, ...parts, ...more };
  // Only these fields of an instance are looked at.
  return {
    name: 'web',
    spec: { ...spec, ...(tuning === undefined ? {} : { tuning }) },
    status: { state: 'stopped' },
  } as unknown as Instance;
}

const best: TuningGround = {
  host: {
    ioUring: true,
    vhostNet: true,
    vsock: true,
    thp: 'always',
    shmemThp: 'advise' as const,
    ksm: true,
    numa: [{ node: 0, cpus: '0-7', memoryMib: 4096, freeMib: 4096 }],
  },
  networkDriver: 'bridge',
  accelerator: 'kvm',
  whyAccelerator: 'KVM runs a guest here.',
  placement: undefined,
  weight: undefined,
};
const poorest: TuningGround = {
  ...best,
  accelerator: 'tcg',
  host: {
    ...best.host,
    ioUring: false,
    vhostNet: false,
    thp: 'never',
    shmemThp: 'never' as const,
    ksm: false,
  },
};
const placed: InstancePlacement = {
  nodes: [1],
  pageSizeKib: 2048,
  dedicated: '4-5',
  vcpuPins: { '0': '4', '1': '5' },
  topology: { sockets: 1, cores: 2, threads: 1 },
  guestNodes: [],
  reasons: ['It fits on node 1.', 'Processors 4-5 are its own.'],
};

const names = (settings: readonly TuningSetting[]): string[] =>
  settings.filter(({ value }) => value !== '').map(({ setting }) => setting);
const all = [
  'accelerator',
  'cpuModel',
  'cpus',
  'topology',
  'cpu.weight',
  'hugepages',
  'transparentHugePages',
  'memory.merge',
  'memory.free-page-reporting',
  'placement',
  'dedicated',
  'disk.aio',
  'disk.queues',
  'disk.iothreads',
  'network.vhost',
  'network.nic0.queues',
  'vsock',
  'clock',
  'virtio-rng',
  'watchdog',
  'pvpanic',
  'vmgenid',
];

function find(settings: readonly TuningSetting[], name: string): TuningSetting | undefined {
  return settings.find(({ setting }) => setting === name);
}

describe('devices of the host', () => {
  const told = (devices: NonNullable<TuningGround['devices']>, nodes: readonly number[] = [1]) =>
    explainTuning(guest(), { ...best, placement: { ...placed, nodes: [...nodes] }, devices }).filter(
      ({ setting }) => setting.startsWith('device'),
    );

  it('are told with their nodes, and that another node would be nearer', () => {
    const [gpu, vf] = [
      { name: 'gpu0', what: '0000:01:00.0', node: 0 },
      { name: 'vf0', what: '0000:83:10.0', node: 1, pool: 'fast' },
    ];
    expect(told([gpu, vf])).toEqual([
      {
        ...{ setting: 'device.gpu0', value: '0000:01:00.0, node 0', from: 'spec' },
        why: 'As asked for, on another node than the guest.',
        better: 'One on node 1, which reaches the guest’s memory without a detour.',
      },
      {
        ...{ setting: 'device.vf0', value: '0000:83:10.0, node 1', from: 'default' },
        why: 'A free function of pool fast, on a node of the guest.',
      },
    ]);
    expect(told([gpu], [])).toEqual([
      { setting: 'device.gpu0', value: '0000:01:00.0, node 0', from: 'spec', why: 'As asked for.' },
    ]);
  });

  it('that it would not be lent are told with the reason', () => {
    expect(told({ message: 'It is lent to another.', hint: 'Stop that.' })).toEqual([
      { setting: 'device', value: 'none', from: 'host', why: 'It is lent to another.', better: 'Stop that.' },
    ]);
  });
});

describe('the tuning of a guest', () => {
  it.each(['balanced', 'latency', 'density'] as const)('names every setting once, for %s', (profile) => {
    const settings = explainTuning(guest({ profile }), best);
    expect(names(settings).toSorted()).toEqual(all.toSorted());
    const again = explainTuning(guest({ profile }), { ...best, placement: placed });
    expect(names(again).toSorted()).toEqual([...all, 'pins'].toSorted());
    for (const { why, from } of again) {
      expect(why).toMatch(/\.$/);
      expect(['spec', 'profile', 'host', 'default']).toContain(from);
    }
  });

  it('has the planner’s reasons right below the placement, in their order', () => {
    const settings = explainTuning(guest(), { ...best, placement: placed });
    const at = settings.findIndex(({ setting }) => setting === 'placement');
    expect(settings[at]?.value).toBe('auto: node 1');
    expect(settings.slice(at + 1, at + 3)).toMatchObject(
      placed.reasons.map((why) => ({ setting: 'placement', value: '', why })),
    );
    expect(settings.filter(({ value }) => value === '')).toHaveLength(2);
  });

  it('says who chose what', () => {
    const from = (settings: TuningSetting[], name: string) => find(settings, name)?.from;
    const own = explainTuning(guest({ hugePages: '2M', dedicated: true, placement: 'none' }), best);
    expect(['hugepages', 'dedicated', 'placement'].map((name) => from(own, name))).toEqual(
      Array.from({ length: 3 }, () => 'spec'),
    );
    const byProfile = explainTuning(guest({ profile: 'latency' }), best);
    expect(['hugepages', 'dedicated', 'placement'].map((name) => from(byProfile, name))).toEqual(
      Array.from({ length: 3 }, () => 'profile'),
    );
    expect(from(explainTuning(guest(), best), 'hugepages')).toBe('default');
    expect(from(explainTuning(guest(), best), 'disk.aio')).toBe('host');
    const limits = { cpu: { weight: 7 } };
    expect(from(explainTuning(guest(undefined, { limits }), { ...best, weight: 7 }), 'cpu.weight')).toBe(
      'spec',
    );
    expect(from(explainTuning(guest({ profile: 'density' }), { ...best, weight: 200 }), 'cpu.weight')).toBe(
      'profile',
    );
  });

  it('shows what it has', () => {
    const settings = explainTuning(guest({ profile: 'latency' }), { ...best, placement: placed });
    expect(settings).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ setting: 'hugepages', value: '2M' }),
        expect.objectContaining({ setting: 'dedicated', value: '4-5' }),
        expect.objectContaining({ setting: 'pins', value: '0: 4, 1: 5' }),
        expect.objectContaining({ setting: 'topology', value: '1,2,1' }),
      ]),
    );
    expect(find(settings, 'transparentHugePages')?.better).toBeUndefined();
  });

  it('gives the reason that goes with what is chosen, and not with what the profile would choose', () => {
    const why = (tuning: Tuning, name: string) => find(explainTuning(guest(tuning), best), name)?.why;
    expect(why({ dedicated: true }, 'dedicated')).toBe(why({ profile: 'latency' }, 'dedicated'));
    expect(why({ dedicated: true }, 'dedicated')).not.toBe(why({}, 'dedicated'));
    expect(why({ profile: 'latency', dedicated: false }, 'dedicated')).toBe(why({}, 'dedicated'));
  });
});

/** A guest that was started with one tuning and is to have another; `started` undefined: by a wirtd that did not keep it. */
function changed(
  started: Tuning | undefined,
  asked: Tuning | undefined,
  { spec = {}, ...status }: { spec?: Partial<Instance['spec']> } & Partial<Instance['status']> = {},
): Instance {
  const size = { cpus: 2, maxCpus: 2, memoryMib: 1024, maxMemoryMib: 1024 };
  const merges = started?.profile === 'density' ? { mergeable: true } : {};
  const run = { ...size, ...merges, ...(started === undefined ? {} : { tuning: started }) };
  const instance = guest(asked, spec);
  return { ...instance, status: { ...instance.status, state: 'running', run, ...status } };
}

describe('a running guest whose tuning was changed', () => {
  const ofNext = (settings: TuningSetting[]): Record<string, string> =>
    Object.fromEntries(
      settings.flatMap(({ setting, value, why }) => {
        const next = /From its next start: (.*)\.$/.exec(why)?.[1];
        return next === undefined ? [] : [[setting, `${value}, then ${next}`]];
      }),
    );

  it('has what it was started with, and is told what its next start brings', () => {
    const settings = explainTuning(changed({}, { profile: 'density' }), best);
    expect(find(settings, 'memory.merge')).toEqual({
      ...{ setting: 'memory.merge', value: 'no', from: 'default' },
      why: expect.stringMatching(/^Merging costs processor time.* From its next start: yes\.$/),
    });
    expect(ofNext(settings)).toEqual({
      profile: 'balanced, then density',
      'cpu.weight': '100, then 200',
      'memory.merge': 'no, then yes',
      'memory.free-page-reporting': 'no, then yes',
      placement: 'auto, then none',
    });
  });

  it('is told the same of the way back', () => {
    const settings = explainTuning(changed({ profile: 'density' }, undefined), { ...best, weight: 200 });
    expect(find(settings, 'memory.merge')?.from).toBe('profile');
    expect(ofNext(settings)).toEqual({
      profile: 'density, then balanced',
      'cpu.weight': '200, then 100',
      'memory.merge': 'yes, then no',
      'memory.free-page-reporting': 'yes, then no',
      placement: 'none, then auto',
    });
  });

  it('has private memory, or shared, as it was started', () => {
    const onlyPrivate = { ...best, host: { ...best.host, thp: 'always', shmemThp: 'never' as const } };
    const value = (instance: Instance) =>
      find(explainTuning(instance, onlyPrivate), 'transparentHugePages')?.value;
    expect(value(changed({}, { profile: 'density' }))).toBe('never');
    expect(value(changed({ profile: 'density' }, {}))).toBe('always');
  });

  it('keeps its place, its processors and its pages', () => {
    const started = { profile: 'latency' } as const;
    const settings = explainTuning(changed(started, { profile: 'balanced', hugePages: '1G' }), {
      ...best,
      placement: placed,
    });
    expect(ofNext(settings)).toEqual({
      profile: 'latency, then balanced',
      dedicated: '4-5, then no',
      hugepages: '2M, then 1G',
    });
    expect(['dedicated', 'hugepages'].map((name) => find(settings, name)?.from)).toEqual([
      'profile',
      'profile',
    ]);
  });

  it('is told of pages that a profile takes only where there are some', () => {
    const settings = explainTuning(changed({}, { profile: 'latency' }), best);
    expect(ofNext(settings)).toMatchObject({ hugepages: 'none, then 2M where the host has some' });
    const own = explainTuning(changed({ profile: 'latency' }, { profile: 'latency', hugePages: '2M' }), {
      ...best,
      placement: placed,
    });
    expect(ofNext(own)).toEqual({});
  });

  it('is told of pins and a topology that come or go', () => {
    const own: Tuning = {
      vcpuPins: { '1': '3', '0': '2' },
      emulatorPin: '0-1',
      topology: { sockets: 2, cores: 1, threads: 1 },
    };
    expect(ofNext(explainTuning(changed({}, own), best))).toEqual({
      pins: 'as it is placed, then 0: 2, 1: 3, emulator: 0-1',
      topology: '1,2,1, then 2,1,1',
    });
    const gone = explainTuning(changed(own, undefined), {
      ...best,
      placement: { ...placed, topology: { sockets: 2, cores: 1, threads: 1 } },
    });
    expect(ofNext(gone)).toEqual({
      pins: '0: 4, 1: 5, then as it is placed',
      topology: '2,1,1, then as it is placed',
    });
    expect(find(gone, 'topology')?.from).toBe('spec');
  });

  it('is told of many pins only the first', () => {
    const vcpuPins = Object.fromEntries(Array.from({ length: 64 }, (_, vcpu) => [String(vcpu), '0-63']));
    const { pins = '' } = ofNext(explainTuning(changed({}, { vcpuPins }), best));
    expect(pins).toMatch(/then 0: 0-63, 1: 0-63.*…$/);
    expect(pins.length).toBeLessThan(120);
  });

  it('hears nothing of a weight that is its own or its policy’s', () => {
    const limits = { cpu: { weight: 7 } };
    const own = changed({}, { profile: 'density' }, { spec: { limits } });
    expect(ofNext(explainTuning(own, { ...best, weight: 7 }))['cpu.weight']).toBeUndefined();
    const shared = changed({}, { profile: 'density' });
    expect(ofNext(explainTuning(shared, { ...best, weight: 300 }))['cpu.weight']).toBeUndefined();
  });

  it('reports free pages as it was read back, also where its limits were changed', () => {
    const spec = { limits: { memory: { freePageReporting: true } } };
    const limits = { effective: { cpus: 2, memoryMib: 1024 } };
    const settings = explainTuning(changed({}, {}, { spec, limits }), best);
    expect(ofNext(settings)).toEqual({ 'memory.free-page-reporting': 'no, then yes' });
    const effective = { memoryMib: 1024, memory: { freePageReporting: true } };
    const has = explainTuning(changed({}, {}, { spec, limits: { effective } }), best);
    expect(find(has, 'memory.free-page-reporting')).toMatchObject({ value: 'yes', from: 'spec' });
    expect(ofNext(has)).toEqual({});
  });

  it('of a wirtd that did not keep its tuning is told by what is asked for, but for merging', () => {
    const settings = explainTuning(changed(undefined, { profile: 'density' }), { ...best, weight: 200 });
    expect(ofNext(settings)).toEqual({ 'memory.merge': 'no, then yes' });
    expect(find(settings, 'placement')?.value).toBe('none');
  });

  it('hears nothing where nothing was changed, or where it does not run', () => {
    for (const profile of ['balanced', 'latency', 'density'] as const) {
      const weight = profile === 'density' ? { weight: 200 } : {};
      expect(ofNext(explainTuning(changed({ profile }, { profile }), { ...best, ...weight }))).toEqual({});
      expect(ofNext(explainTuning(guest({ profile }), { ...best, ...weight }))).toEqual({});
    }
  });
});

describe('what a guest would have on a host with more', () => {
  const better = (instance: Instance, ground: TuningGround): string[] =>
    explainTuning(instance, ground).flatMap(({ setting, better: text }) =>
      text === undefined ? [] : [setting],
    );

  it('is nothing where the host has it all', () => {
    expect(better(guest(), best)).toEqual([]);
    expect(better(guest({ profile: 'density' }), best)).toEqual([]);
    expect(better(guest({ profile: 'latency' }), { ...best, placement: placed })).toEqual([]);
  });

  it('is told of everything that the host lacks', () => {
    expect(better(guest(), poorest)).toEqual([
      'accelerator',
      'transparentHugePages',
      'disk.aio',
      'network.vhost',
    ]);
    expect(better(guest({ profile: 'density' }), poorest)).toContain('memory.merge');
  });

  it('are huge pages, where its profile would have them and the host has none', () => {
    expect(better(guest({ profile: 'latency' }), best)).toEqual(['hugepages']);
    expect(find(explainTuning(guest({ profile: 'latency' }), best), 'hugepages')?.value).toBe('none');
  });

  it('looks at the kind of memory that the guest has: merged memory is private, other is shared', () => {
    const onlyPrivate = { ...best, host: { ...best.host, thp: 'always', shmemThp: 'never' as const } };
    expect(better(guest(), onlyPrivate)).toEqual(['transparentHugePages']);
    expect(better(guest({ profile: 'density' }), onlyPrivate)).toEqual([]);
    const value = (tuning: Tuning) =>
      find(explainTuning(guest(tuning), onlyPrivate), 'transparentHugePages')?.value;
    expect([value({}), value({ profile: 'density' })]).toEqual(['never', 'always']);
  });
});

describe('the threads of disks', () => {
  const threads = (version: string, maps: boolean, more: Partial<Instance['spec']> = {}, run?: object) => {
    const qemu = { version, features: { 'iothread-vq-mapping': maps } };
    const instance = guest(undefined, { cpus: 16, ...more });
    const whole = { ...instance, status: { ...instance.status, ...(run === undefined ? {} : { run }) } };
    const ground = { ...best, host: { ...best.host, qemu } } as TuningGround;
    return find(explainTuning(whole as Instance, ground), 'disk.iothreads');
  };

  it('are several for many queues, where QEMU spreads them', () => {
    expect(threads('11.0.0', true)).toMatchObject({
      value: '4',
      from: 'default',
      why: expect.stringMatching(/each 4 queues/),
    });
    expect(threads('11.0.0', true, { cpus: 4 })).toMatchObject({ value: '1', from: 'default' });
    expect(threads('11.0.0', true, { machine: 'microvm' })).toMatchObject({ value: '1' });
  });

  it('are one where QEMU cannot, or could stand still, and would be more on another', () => {
    for (const [version, maps, why] of [
      ['7.2.22', false, /one thread/],
      ['10.0.2', true, /stand still/],
    ] as const)
      expect(threads(version, maps)).toMatchObject({
        value: '1',
        from: 'host',
        why: expect.stringMatching(why),
        better: expect.stringContaining('4 for each disk, by QEMU'),
      });
    expect(threads('7.2.22', false, { cpus: 4 })?.better).toBeUndefined();
  });

  it('of a guest that runs are what it was started with', () => {
    const run = { cpus: 16, maxCpus: 16, memoryMib: 1024, maxMemoryMib: 1024 };
    expect(threads('11.0.0', true, {}, run)).toMatchObject({
      value: '1',
      better: expect.stringContaining('next start'),
    });
    expect(threads('7.2.22', false, {}, { ...run, diskIothreads: 4 })).toMatchObject({
      value: '4',
      from: 'default',
    });
  });
});

describe('the queues of a card', () => {
  const queues = (cpus: number, nic: object = {}, ground: Partial<TuningGround> = {}, run?: object) => {
    // Only these fields of a card are looked at.
    const nics = [{ name: 'nic0', model: 'virtio', ...nic }] as unknown as Instance['spec']['nics'];
    const instance = guest(undefined, { cpus, nics });
    const whole = { ...instance, status: { ...instance.status, ...(run === undefined ? {} : { run }) } };
    return find(explainTuning(whole as Instance, { ...best, ...ground }), 'network.nic0.queues');
  };

  it('are one for each vCPU of its start, up to 8, unless the card says another number', () => {
    expect(queues(2)).toMatchObject({ value: '2', from: 'default' });
    expect(queues(64)).toMatchObject({ value: '8', why: expect.stringContaining('8 at most') });
    expect(queues(64, {}, {}, { cpus: 4, maxCpus: 64 })).toMatchObject({ value: '4' });
    expect(queues(64, { queues: 32 })).toMatchObject({ value: '32', from: 'spec', why: 'As asked for.' });
  });

  it('are one for a model that has no more', () => {
    expect(queues(4, { model: 'e1000e' })).toEqual({
      ...{ setting: 'network.nic0.queues', value: '1', from: 'spec' },
      why: 'The model e1000e has no more.',
    });
  });

  it('are one in user mode, without vhost, and would be more elsewhere', () => {
    expect(queues(4, {}, { networkDriver: 'user' })).toMatchObject({
      ...{ value: '1', from: 'host' },
      better: expect.stringMatching(/^4, on a host/),
    });
    expect(queues(1, {}, { networkDriver: 'user' })?.better).toBeUndefined();
    const settings = explainTuning(guest(), { ...best, networkDriver: 'user' });
    expect(find(settings, 'network.vhost')).toMatchObject({
      value: 'no',
      better: expect.stringContaining('vhost-net'),
    });
  });
});

describe('a guest with processors numbered beyond 254', () => {
  const wide = (more: Partial<Instance['spec']>, ground: Partial<TuningGround> = {}) => {
    const settings = explainTuning(guest(undefined, more), { ...best, ...ground });
    return ['x2apic', 'iommu', 'irqchip'].map((name) => find(settings, name)?.value);
  };

  it('is told of x2APIC, the IOMMU and the split irqchip, and others are not', () => {
    expect(wide({ cpus: 256 })).toEqual(['yes', 'interrupts', 'split']);
    expect(wide({ cpus: 1, maxCpus: 256 })).toEqual(['yes', 'interrupts', 'split']);
    expect(wide({ cpus: 256 }, { accelerator: 'tcg' })).toEqual(['yes', 'interrupts', undefined]);
    const devices = [{ name: 'gpu0', address: '0000:01:00.0' }];
    expect(wide({ cpus: 256, devices })[1]).toBe('interrupts, caching mode');
    expect(wide({ cpus: 255 })).toEqual([undefined, undefined, undefined]);
    // Numbers have gaps.
    const topology = { sockets: 2, cores: 40, threads: 3 };
    expect(wide({ cpus: 240 }, { placement: { ...placed, topology } })[0]).toBe('yes');
  });
});

describe('what every guest is given beside', () => {
  const names = ['virtio-rng', 'watchdog', 'pvpanic', 'vmgenid'];
  const given = (more: Partial<Instance['spec']>) => {
    const settings = explainTuning(guest(undefined, more), best);
    return names.map((name) => find(settings, name));
  };

  it('is told with what it is for, and of a microvm what another machine would give', () => {
    for (const one of given({})) {
      expect(one).toMatchObject({ from: 'default', why: expect.stringMatching(/\.$/) });
      expect([one?.value === 'no', one?.better]).toEqual([false, undefined]);
    }
    const [rng, ...others] = given({ machine: 'microvm' });
    expect([rng?.value, rng?.better]).toEqual(['64 KiB/s', undefined]);
    for (const one of others)
      expect(one).toMatchObject({ value: 'no', from: 'spec', better: expect.stringMatching(/machine q35/) });
  });

  it('is no randomness for a microvm whose disks and cards have all its places', () => {
    const disks = Array.from({ length: 21 }, () => ({})) as Instance['spec']['disks'];
    expect(given({ machine: 'microvm', disks })[0]).toMatchObject({
      value: 'no',
      better: expect.stringMatching(/machine q35/),
    });
    expect(given({ machine: 'microvm', disks: disks.slice(1) })[0]?.value).toBe('64 KiB/s');
  });
});

describe('a vsock', () => {
  const vsock = (spec: Partial<Instance['spec']>, status: object, host = best.host) => {
    const instance = guest(undefined, spec);
    const whole = { ...instance, status: { ...instance.status, ...status } };
    return find(explainTuning(whole, { ...best, host }), 'vsock');
  };

  it('is there only where it is asked for, and is told by its address', () => {
    expect(vsock({}, {})).toMatchObject({
      value: 'no',
      from: 'default',
      why: expect.stringMatching(/services of the host/),
    });
    expect(vsock({ vsock: true }, {})).toMatchObject({ value: 'yes', from: 'spec' });
    expect(vsock({ vsock: true }, { vsockCid: 7 })).toMatchObject({ value: 'CID 7' });
  });

  it('of a guest that runs is what it was started with', () => {
    expect(vsock({ vsock: true }, { run: { cpus: 1 } })?.value).toBe('no');
    expect(vsock({}, { vsockCid: 7, run: { cpus: 1, vsock: true } })?.value).toBe('CID 7');
  });

  it('takes a module of the kernel', () => {
    expect(vsock({ vsock: true }, {}, { ...best.host, vsock: false })?.better).toContain(
      'modprobe vhost_vsock',
    );
  });

  it('takes a QEMU that was built with it', () => {
    const qemu = { version: '7.2.22', features: { 'vhost-vsock': false } };
    const host = { ...best.host, qemu } as TuningGround['host'];
    expect(vsock({ vsock: true }, {}, host)?.better).toContain('vhost-vsock-pci');
    expect(vsock({}, {}, host)?.better).toBeUndefined();
  });
});

describe('the profile in force', () => {
  it('is balanced where none is named', () => {
    expect(profileName(guest())).toBe('balanced');
    expect(profileName(guest({ profile: 'density' }))).toBe('density');
  });

  it('of a guest that runs is the one that it was started with', () => {
    expect(profileName(changed({}, { profile: 'density' }))).toBe('balanced');
    expect(profileName(changed({ profile: 'latency' }, undefined))).toBe('latency');
    expect(profileName(changed(undefined, { profile: 'density' }))).toBe('density');
  });
});
