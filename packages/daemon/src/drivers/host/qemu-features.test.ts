import { describe, expect, it } from 'vitest';
import { probeOutput } from './probe.fixture.ts';
import { missingFeatures, parseProbe, probeCommands, requiredFeatures } from './qemu-features.ts';

describe('what a QEMU binary can do', () => {
  it('is read from its answers, among greetings and events', () => {
    const facts = parseProbe(probeOutput());
    expect(facts).toMatchObject({
      version: '7.2.22',
      machines: ['q35', 'microvm'],
      maxCpus: { q35: 288, microvm: 255 },
    });
    expect(missingFeatures(facts)).toEqual([]);
    expect(facts.features).toMatchObject({
      kvm: true,
      'io-uring': true,
      'user-network': true,
      'ignore-shared-migration': true,
      'mapped-ram-migration': false,
      'stream-network': true,
      'stream-reconnect': false,
      'stream-reconnect-ms': false,
    });
  });

  it('includes whether a card on a socket is connected again, by whatever option', () => {
    const features = (options: readonly string[]) =>
      parseProbe(probeOutput({ streamOptions: options })).features;
    expect(features(['addr', 'server', 'reconnect'])).toMatchObject({
      'stream-reconnect': true,
      'stream-reconnect-ms': false,
    });
    expect(features(['addr', 'server', 'reconnect-ms'])).toMatchObject({
      'stream-reconnect': false,
      'stream-reconnect-ms': true,
    });
  });

  it('includes whether it spreads the queues of a disk over threads', () => {
    const maps = (diskProperties?: readonly string[] | 'refused') =>
      parseProbe(probeOutput(diskProperties === undefined ? {} : { diskProperties })).features[
        'iothread-vq-mapping'
      ];
    expect(maps()).toBe(false);
    expect(maps('refused')).toBe(false);
    expect(maps(['iothread', 'iothread-vq-mapping'])).toBe(true);
  });

  it('lacks what its answers do not have, and knows whether guests need it', () => {
    const lacking = (change: Parameters<typeof probeOutput>[0]) =>
      missingFeatures(parseProbe(probeOutput(change)));
    expect(lacking({ withoutTypes: ['memory-backend-memfd'] })).toEqual(['memory-backend-memfd']);
    expect(lacking({ withoutTypes: ['virtserialport'] })).toEqual(['virtio-serial']);
    expect(lacking({ withoutOptions: ['sandbox'] })).toEqual(['sandbox']);
    expect(lacking({ withoutCommands: ['system_powerdown'] })).toEqual(['qmp-commands']);
    expect(lacking({ withoutMachines: ['q35'] })).toEqual(['q35', 'memory-backend']);
    expect(lacking({ withoutDefaultRamId: true })).toEqual(['memory-backend']);
    // These only cost something: `host check` says what.
    expect(lacking({ withoutMachines: ['microvm'], withoutTypes: ['kvm-accel', 'vfio-pci'] })).toEqual([]);
  });

  it('cannot be told from half an answer, or from something else', () => {
    const whole = probeOutput();
    for (const output of ['', 'hello\n', '{"QMP":{}}\n', whole.split('\n').slice(0, 3).join('\n')])
      expect(() => parseProbe(output)).toThrow(/did not/);
    expect(() => parseProbe(`${whole}{"id":`)).toThrow();
  });

  it('is asked for everything in one conversation that ends by itself', () => {
    expect(probeCommands.at(0)?.execute).toBe('qmp_capabilities');
    expect(probeCommands.at(-1)?.execute).toBe('quit');
    expect(Object.keys(parseProbe(probeOutput()).features)).toEqual(
      expect.arrayContaining([...requiredFeatures]),
    );
  });
});
