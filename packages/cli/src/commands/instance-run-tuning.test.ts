import { describe, expect, it } from 'vitest';
import { anInstance, doneOperation, runWirt, startScriptedDaemon } from '../scripted-daemon.ts';
import { anImage } from '../scripted-records.ts';

async function ran(...argv: string[]) {
  await using daemon = await startScriptedDaemon({
    'POST /v1/instances': () => ({ status: 202, json: doneOperation }),
    [`GET /v1/instances/${anInstance.id}`]: () => ({ json: anInstance }),
    'GET /v1/images/micro': () => ({ json: anImage }),
  });
  const result = await runWirt(['run', 'micro', ...argv], { daemon });
  const asked = daemon.asked.find(({ method }) => method === 'POST')?.json as { spec?: object } | undefined;
  return { ...result, spec: asked?.spec, lines: daemon.lines };
}

describe('wirt run with tuning', () => {
  it('sends what was asked for, and nothing else', async () => {
    const { code, spec } = await ran(
      ...['--profile', 'latency', '--hugepages', '1G', '--placement', 'none', '--dedicated'],
      ...['--pin', '0=2-3', '--pin', '01=4', '--pin-emulator', '0-1', '--pin-iothreads', '0,8'],
      ...['--topology', '1,4,2'],
    );
    expect(code).toBe(0);
    expect(spec).toMatchObject({
      tuning: {
        ...{ profile: 'latency', hugePages: '1G', placement: 'none', dedicated: true },
        ...{ vcpuPins: { '0': '2-3', '1': '4' }, emulatorPin: '0-1', iothreadPin: '0,8' },
        topology: { sockets: 1, cores: 4, threads: 2 },
      },
    });
    expect((await ran('--hugepages', '2M')).spec).toMatchObject({ tuning: { hugePages: '2M' } });
    expect((await ran()).spec).not.toHaveProperty('tuning');
  });

  it.each([
    [['--profile', 'fast'], 'takes balanced, latency, density'],
    [['--hugepages', '4M'], 'takes none, 2M, 1G'],
    [['--pin', '0'], 'takes KEY=VALUE'],
    [['--pin', 'a=1'], '--pin takes a whole number'],
    [['--pin', '4096=1'], '--pin must be from 0 to 4095'],
    [['--pin', '0=3-1'], '--pin counts upwards'],
    [['--pin', '0=1', '--pin', '0=2'], 'given twice for vCPU 0'],
    [['--pin-emulator', 'all'], '--pin-emulator takes processors of the host'],
    [['--topology', '8'], '--topology takes SOCKETS,CORES,THREADS'],
    [['--set', 'hugepages=2M'], 'Give it by --hugepages'],
    [['--set', 'pin.0=2'], 'Give it by --pin'],
  ])('refuses %j before anything is made', async (argv, reason) => {
    const { code, stderr, lines } = await ran(...argv);
    expect(code).toBe(2);
    expect(stderr).toContain(reason);
    expect(lines).not.toContain('POST /v1/instances');
  });
});
