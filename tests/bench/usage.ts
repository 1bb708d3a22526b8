// What sampling costs: of 100 paused guests with a disk each, over a minute. What a pass takes grows with the guests, so that ten times it is that of
// 1,000; the questions to QEMU, of which there are no more than 80 in a pass, are in the second figure, with all else that wirtd does.
import { startDaemon, type TestDaemon } from '../functional/harness/daemon.ts';
import { type Figure, ms } from './measure.ts';

const guests = 100;
const passes = 12;
const periodSeconds = 5;

async function startGuests(daemon: TestDaemon): Promise<void> {
  const mib = 2 ** 20;
  const data = { name: 'data', device: 'disk', bus: 'virtio', sizeBytes: 16 * mib, pool: 'default' } as const;
  const disks = [{ ...data, format: 'raw', readOnly: false } as const];
  await Promise.all(
    Array.from({ length: guests }, (_, number) =>
      daemon.client.call('POST /v1/instances', {
        body: {
          name: `sampled-${number}`,
          start: true,
          startPaused: true,
          spec: { image: 'micro', memoryMib: 64, disks },
        },
        query: { wait: 'done', waitSeconds: 300 },
      }),
    ),
  );
}

/** A metric without labels. */
async function metric(daemon: TestDaemon, name: string): Promise<number> {
  const page = await (await daemon.fetch('http://localhost/metrics')).text();
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(page)?.[1]);
}

async function nextPasses(daemon: TestDaemon, count: number): Promise<void> {
  let { at } = await daemon.client.call('GET /v1/usage', {});
  for (let pass = 0; pass < count; pass += 1)
    ({ at } = await daemon.client.call('GET /v1/usage', { query: { after: at } }));
}

export async function usage(): Promise<Figure[]> {
  // A pass tells the time that it took, and not the processor time: nobody is to come between.
  await using daemon = await startDaemon({ under: ['nice', '-n', '-19'] });
  await startGuests(daemon);
  await nextPasses(daemon, 3);
  const look = async () => ({
    passes: await metric(daemon, 'wirt_usage_passes_total'),
    seconds: await metric(daemon, 'wirt_usage_pass_seconds_total'),
    cpuSeconds: await metric(daemon, 'process_cpu_seconds_total'),
  });
  const before = await look();
  await nextPasses(daemon, passes);
  const after = await look();
  const { items } = await daemon.client.call('GET /v1/usage', {});
  const made = after.passes - before.passes;
  const ofThousandMs = ((after.seconds - before.seconds) / made) * 1000 * (1000 / guests);
  const share = ofThousandMs / 1000 / periodSeconds;
  const whole = (after.cpuSeconds - before.cpuSeconds) / (made * periodSeconds);
  const percent = (value: number): string => `${(value * 100).toFixed(2)} %`;
  return [
    {
      name: 'a pass over 1,000 guests, from 100',
      measured: `${ms(ofThousandMs)} (${percent(share)} of a core)`,
      promised: '≤ 2 % of a core',
      holds: items.length === guests && share <= 0.02,
    },
    {
      name: 'wirtd with 100 idle guests, all that it does',
      measured: `${percent(whole)} of a core`,
      promised: '',
      holds: true,
    },
  ];
}
