import { describe, expect, it } from 'vitest';
import {
  anInstance,
  problem,
  runWirt,
  type Script,
  startScriptedDaemon,
  startWirt,
} from '../scripted-daemon.ts';
import { columnsOf } from '../table.ts';

const mib = 1024 ** 2;

function usage(name: string, cores: number, more: object = {}) {
  return {
    instance: name === 'demo' ? anInstance.id : `01KATESTTESTTESTTESTTEST${name}`,
    name,
    at: '2026-11-22T12:00:00Z',
    cpu: {
      ...{ seconds: 100, cores, limitCores: 2, throttledSeconds: 3, throttled: 0.25 },
      ...{
        stealSeconds: 1,
        steal: 0.04,
        pressure: 0.12,
        vcpus: [
          { cores: 0.3, steal: 0.01 },
          { cores, steal: 0 },
        ],
      },
    },
    memory: { usedMib: 512, ceilingMib: 1536 },
    io: { pressure: 0.6 },
    disks: [
      {
        ...{ name: 'root', readBytes: 100 * mib, writtenBytes: 2 * mib, reads: 10, writes: 5 },
        ...{
          readBytesPerSecond: 1.5 * mib,
          writtenBytesPerSecond: 2048,
          readsPerSecond: 40,
          writesPerSecond: 2,
        },
      },
    ],
    nics: [
      {
        ...{ name: 'nic0', ingressBytes: 5, egressBytes: 6, ingressPackets: 1, egressPackets: 1 },
        ...{
          ingressDropped: 7,
          egressDropped: 0,
          ingressBytesPerSecond: 100,
          egressBytesPerSecond: 12 * mib,
        },
        ...{ ingressPacketsPerSecond: 1, egressPacketsPerSecond: 9000 },
      },
    ],
    ...more,
  };
}

const two = [usage('demo', 0.5), usage('web', 1.9, { stale: true })];
const sampled: Script = () => ({ json: { at: '2026-11-22T12:00:00Z', items: two } });

describe('wirt top', () => {
  it('prints one table where there is no terminal: usage beside limit, the busiest first', async () => {
    await using daemon = await startScriptedDaemon({ 'GET /v1/usage': sampled });
    const { code, stdout } = await runWirt(['top'], { daemon });
    expect(code).toBe(0);
    expect(stdout).toBe(
      [
        'NAME           CPU THR% STL% PSI%CPU PSI%MEM PSI%IO     MEMORY  READ WRITE    IN   OUT',
        '~web      1.90/2.0   25    4      12       -     60  512M/1.5G  1.5M  2.0K   100   12M',
        'demo      0.50/2.0   25    4      12       -     60  512M/1.5G  1.5M  2.0K   100   12M',
        '~ its QEMU does not answer: its disks are as they were',
        '',
      ].join('\n'),
    );
    const byName = await runWirt(['top', '--once', '--sort', 'name', '-o', 'name'], { daemon });
    expect(byName.stdout).toBe('demo\nweb\n');
    expect(JSON.parse((await runWirt(['top', '-o', 'json'], { daemon })).stdout)).toEqual(two);
  });

  it('fits into 80 columns, with escapes in names shown and not obeyed', async () => {
    const long = usage(`a\x1b[2J${'long'.repeat(20)}`, 3);
    await using daemon = await startScriptedDaemon({
      'GET /v1/usage': () => ({ json: { at: 'x', items: [long] } }),
    });
    const terminal = { columns: 80, rows: 24 };
    const { stdout } = await runWirt(['top', '--once'], { daemon, terminal });
    expect(stdout).not.toContain('\x1b[2J');
    expect(stdout).toContain('a\\x1b[2Jlong');
    const lines = stdout.trimEnd().split('\n');
    for (const line of lines) expect(columnsOf(line)).toBeLessThanOrEqual(80);
    expect(lines[1]).toMatch(/… +3\.00\/2\.0 +25 +4 +60 +512M\/1\.5G +1\.5M +2\.0K +100 +12M$/);
  });

  it('shows parts, beside the limits that were read back', async () => {
    const effective = {
      disks: { root: { readBytes: { rate: 10 * mib, burst: 50 * mib } } },
      nics: { nic0: { egress: { bytesPerSecond: 12_500_000 } } },
    };
    await using daemon = await startScriptedDaemon({
      'GET /v1/usage': sampled,
      'GET /v1/instances': () => ({
        json: { items: [{ id: anInstance.id, status: { limits: { effective } } }] },
      }),
    });
    const disks = await runWirt(['top', '--per', 'disk', '--sort', 'name'], { daemon });
    expect(disks.stdout).toMatch(/demo\/root +1\.5M\/10MiB +2\.0K +40 +2 +100M +2\.0M\n~web\/root +1\.5M +/);
    const cards = await runWirt(['top', '--per', 'nic'], { daemon });
    expect(cards.stdout).toMatch(/demo\/nic0 +100 +12M\/100Mbit +1 +9000 +7 +0\n/);
    const vcpus = await runWirt(['top', 'demo', '--per', 'vcpu'], { daemon });
    expect(vcpus.stdout).toMatch(/demo\/vcpu0 +0\.30 +1\ndemo\/vcpu1 +0\.50 +0\n$/);
  });

  it('takes names and ids, and says why one of them is not there', async () => {
    await using daemon = await startScriptedDaemon({
      'GET /v1/usage': sampled,
      'GET /v1/instances/lost/usage': () => problem(404, 'instance.not_found', 'There is no instance lost.'),
    });
    const { code, stdout, stderr } = await runWirt(['top', anInstance.id, 'lost', '-o', 'name'], { daemon });
    expect([code, stdout, stderr]).toEqual([3, 'demo\n', 'wirt: There is no instance lost.\n']);
  });

  it('says so when no guest runs', async () => {
    await using daemon = await startScriptedDaemon({
      'GET /v1/usage': () => ({ json: { at: 'x', items: [] } }),
    });
    expect((await runWirt(['top'], { daemon })).stdout).toBe('No guest runs.\n');
  });
});

describe('wirt top on a terminal', () => {
  const terminal = { columns: 80, rows: 10 };

  /** Answers the first pass at once, and each later one when `next` is called. */
  function passes() {
    const waiting: ((items: object[]) => void)[] = [];
    let pass = 0;
    const script: Script = ({ query }, response) => {
      const answer = (items: object[]): void => {
        pass += 1;
        response.end(JSON.stringify({ at: `2026-11-22T12:00:0${pass}Z`, items }));
      };
      if (query['after'] === undefined) answer(two);
      else waiting.push(answer);
      return undefined;
    };
    return { script, next: (items: object[]) => waiting.shift()?.(items) };
  }

  it('draws a frame for every pass, sorts by keys, and gives the terminal back at q', async () => {
    const { script, next } = passes();
    await using daemon = await startScriptedDaemon({ 'GET /v1/usage': script });
    const rawModes: boolean[] = [];
    const running = startWirt(['top'], { daemon, terminal, rawModes });
    await running.says('by cpu');
    await daemon.heard('GET /v1/usage', 3);
    expect(daemon.asked.at(-1)?.query['after']).toMatch(/^2026-11-22T12:00:0\dZ$/);
    next([usage('third', 0.1)]);
    await running.says('third');
    running.stdin.write('a');
    await running.says('by name');
    running.stdin.write('q');
    const { code, stdout } = await running.done;
    expect([code, rawModes]).toEqual([0, [true, false]]);
    expect(stdout.startsWith('\x1b[?1049h')).toBe(true);
    expect(stdout.trimEnd().endsWith('\x1b[?25h\x1b[?1049l')).toBe(true);
  });

  it('never draws more lines than there are', async () => {
    const many = Array.from({ length: 50 }, (_, at) => usage(`guest${at}`, at));
    await using daemon = await startScriptedDaemon({
      'GET /v1/usage': ({ query }, response) => {
        if (query['after'] === undefined) return { json: { at: 'first', items: many } };
        response.on('close', () => undefined);
        return undefined;
      },
    });
    const running = startWirt(['top'], { daemon, terminal });
    await running.says('guest49');
    running.stdin.write('\x1b[B');
    await running.says('guest42');
    running.interrupt();
    const { stdout } = await running.done;
    for (const each of stdout.split('\x1b[H').slice(1))
      expect(each.split('\r\n').length).toBeLessThanOrEqual(10);
  });

  it('waits for a daemon that went away, and goes on', async () => {
    let away = false;
    await using daemon = await startScriptedDaemon({
      'GET /v1/usage': ({ query }, response) => {
        if (query['after'] === undefined) return { json: { at: 'first', items: two } };
        if (away) return { json: { at: 'later', items: [usage('after', 1)] } };
        away = true;
        response.destroy();
        return undefined;
      },
    });
    const running = startWirt(['top'], { daemon, terminal });
    await running.says('wirtd is gone');
    await running.says('after');
    running.stdin.write('q');
    expect((await running.done).code).toBe(0);
  });
});
