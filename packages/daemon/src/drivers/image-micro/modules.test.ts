import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  loadOrder,
  MissingModuleError,
  type ModuleTree,
  moduleName,
  renderModulesDep,
  wantedModules,
} from './modules.ts';

function tree(
  modules: Readonly<Record<string, readonly string[]>>,
  builtIn: readonly string[] = [],
): ModuleTree {
  return { isBuiltIn: (name) => builtIn.includes(name), dependenciesOf: (name) => modules[name] };
}

const wanted = (...always: string[]) => ({ always, whenThere: [] });

const virtio = tree({
  virtio_ring: [],
  virtio: ['virtio_ring'],
  virtio_pci: ['virtio_ring', 'virtio'],
  virtio_net: ['virtio_ring', 'virtio', 'net_failover'],
  net_failover: ['failover'],
  failover: [],
});

describe('loadOrder', () => {
  it('puts every module after those it depends on', () => {
    expect(loadOrder(wanted('virtio_pci', 'virtio_net'), virtio)).toEqual([
      'virtio_ring',
      'virtio',
      'virtio_pci',
      'failover',
      'net_failover',
      'virtio_net',
    ]);
  });

  it('leaves out what the kernel has built in', () => {
    const modules = tree({ virtio_pci: ['virtio'] }, ['virtio', 'button']);
    expect(loadOrder(wanted('virtio_pci', 'button'), modules)).toEqual(['virtio_pci']);
  });

  it('takes a name with either dash', () => {
    expect(loadOrder(wanted('virtio-pci'), tree({ virtio_pci: [] }))).toEqual(['virtio_pci']);
  });

  it('takes a module that need not be there when it is', () => {
    const modules = tree({ evdev: [], gpio_keys: [] });
    expect(loadOrder({ always: ['evdev'], whenThere: ['gpio_keys', 'button'] }, modules)).toEqual([
      'evdev',
      'gpio_keys',
    ]);
  });

  it('names a module that is missing, and who needs it', () => {
    const order = () => loadOrder(wanted('virtio_net'), tree({ virtio_net: ['net_failover'] }));
    expect(order).toThrow(MissingModuleError);
    expect(order).toThrow('The kernel has no module net_failover, which virtio_net needs.');
  });

  it('orders any tree so that nothing comes before what it needs', () => {
    const anyTree = fc
      .array(fc.array(fc.nat(30), { maxLength: 4 }), { minLength: 1, maxLength: 30 })
      // A module depends only on earlier ones: the kernel's modules have no circles.
      .map((lists) =>
        lists.map((list, index) => (index === 0 ? [] : [...new Set(list.map((n) => n % index))])),
      );
    fc.assert(
      fc.property(anyTree, (lists) => {
        const modules = tree(
          Object.fromEntries(lists.map((list, index) => [`m${index}`, list.map((n) => `m${n}`)])),
        );
        const order = loadOrder(wanted(`m${lists.length - 1}`), modules);
        expect(new Set(order).size).toBe(order.length);
        for (const [place, name] of order.entries()) {
          for (const dependency of modules.dependenciesOf(name) ?? []) {
            expect(order.slice(0, place)).toContain(dependency);
          }
        }
      }),
    );
  });
});

describe('the modules of the micro guest', () => {
  it.each(['amd64', 'arm64'] as const)('of %s: those for SCSI are not loaded at boot', (arch) => {
    const { always, whenThere, onDemand } = wantedModules[arch];
    const names = [...always, ...whenThere, ...onDemand];
    const all = tree(Object.fromEntries(names.map((name) => [name, []])));
    expect(loadOrder({ always, whenThere }, all)).toContain('virtio_blk');
    expect(loadOrder({ always, whenThere }, all)).not.toContain('virtio_scsi');
  });
});

describe('moduleName', () => {
  it.each([
    ['kernel/drivers/char/hw_random/virtio-rng.ko', 'virtio_rng'],
    ['kernel/drivers/net/virtio_net.ko.xz', 'virtio_net'],
    ['evdev.ko.zst', 'evdev'],
    ['button', 'button'],
  ])('of %s is %s', (path, name) => {
    expect(moduleName(path)).toBe(name);
  });
});

describe('renderModulesDep', () => {
  it('names dependencies so that loading from the last to the first works', () => {
    const text = renderModulesDep(loadOrder(wanted('virtio_pci', 'virtio_net'), virtio), virtio);
    expect(text.split('\n')).toEqual([
      'virtio_ring.ko:',
      'virtio.ko: virtio_ring.ko',
      'virtio_pci.ko: virtio.ko virtio_ring.ko',
      'failover.ko:',
      'net_failover.ko: failover.ko',
      'virtio_net.ko: net_failover.ko failover.ko virtio.ko virtio_ring.ko',
      '',
    ]);
  });
});
