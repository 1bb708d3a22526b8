import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Usage } from '@wirt/api';
import type { UsageSurvey } from '@wirt/core';
import { describe, expect, it } from 'vitest';
import { readExposition } from './exposition.fixture.ts';
import { openDoor } from './fake-door.ts';

const at = '2026-11-22T06:00:05.000Z';

function someUsage(instance: string, name: string): Usage {
  return {
    instance,
    name,
    at,
    cpu: {
      seconds: 12.5,
      cores: 0.5,
      limitCores: 1.5,
      throttledSeconds: 2,
      throttled: 0.1,
      stealSeconds: 0.25,
      steal: 0.01,
      pressure: 0.02,
      vcpus: [{ cores: 0.5, steal: 0.01 }],
    },
    memory: { usedMib: 256.5, swappedMib: 1, ceilingMib: 512, guestMib: 384, pressure: 0 },
    io: { pressure: 0.5 },
    disks: ['vda', 'vdb'].map((disk, index) => ({
      name: disk,
      readBytes: 4096 + index,
      writtenBytes: 9_007_199_254_740_991,
      reads: 1,
      writes: 2,
      readBytesPerSecond: 0,
      writtenBytesPerSecond: 0,
      readsPerSecond: 0,
      writesPerSecond: 0,
    })),
    nics: [
      {
        name: 'nic0',
        ingressBytes: 1,
        egressBytes: 2,
        ingressPackets: 3,
        egressPackets: 4,
        ingressDropped: 5,
        egressDropped: 6,
        ingressBytesPerSecond: 0,
        egressBytesPerSecond: 0,
        ingressPacketsPerSecond: 0,
        egressPacketsPerSecond: 0,
      },
    ],
  };
}

const id = (index: number): string => `01J9ZK3W8Y7Q5T2R4M6N8P${String(1000 + index)}`;

function running(index: number, name = `web-${index}`): UsageSurvey['instances'][number] {
  return { id: id(index), name, project: 'default', state: 'running', usage: someUsage(id(index), name) };
}

const stopped = { id: id(999), name: 'old', project: 'lab', state: 'stopped', usage: undefined } as const;

async function scrape(instances: UsageSurvey['instances']) {
  const survey = async () => ({ at, passes: 7, passSeconds: 0.25, instances });
  const { app } = await openDoor({ usage: { survey } });
  const answer = await app.inject({ url: '/metrics' });
  return { answer, text: answer.body, families: readExposition(answer.body) };
}

async function valueOf(name: string, labels: Record<string, string> = {}): Promise<number | undefined> {
  const { families } = await scrape([running(0), stopped]);
  const family = families.find((each) => each.name === name);
  return family?.series.find(({ labels: found }) =>
    Object.entries(labels).every(([label, value]) => found[label] === value),
  )?.value;
}

const docs = (path: string): string =>
  readFileSync(new URL(`../../../../../docs/${path}`, import.meta.url), 'utf8');

describe('GET /metrics', () => {
  it('answers in the text format of Prometheus', async () => {
    const { answer, families } = await scrape([running(0), running(1), stopped]);
    expect(answer.statusCode).toBe(200);
    expect(answer.headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(families.length).toBeGreaterThan(40);
  });

  it('is what promtool calls right, where promtool is installed', async (context) => {
    try {
      execFileSync('promtool', ['--version'], { stdio: 'ignore' });
    } catch {
      context.skip('promtool is not installed');
    }
    const { text } = await scrape([running(0), running(1), stopped]);
    execFileSync('promtool', ['check', 'metrics'], { input: text });
  });

  it('tells what an instance uses beside its limits, in base units', async () => {
    const labels = { instance: 'web-0', id: id(0), project: 'default' };
    expect(await valueOf('wirt_instance_cpu_seconds_total', labels)).toBe(12.5);
    expect(await valueOf('wirt_instance_cpu_limit_cores', labels)).toBe(1.5);
    expect(await valueOf('wirt_instance_cpu_throttled_seconds_total', labels)).toBe(2);
    expect(await valueOf('wirt_instance_memory_bytes', labels)).toBe(256.5 * 1024 ** 2);
    expect(await valueOf('wirt_instance_memory_ceiling_bytes', labels)).toBe(512 * 1024 ** 2);
    expect(await valueOf('wirt_instance_disk_read_bytes_total', { ...labels, disk: 'vdb' })).toBe(4097);
    expect(await valueOf('wirt_instance_disk_written_bytes_total', labels)).toBe(Number.MAX_SAFE_INTEGER);
    expect(await valueOf('wirt_instance_network_receive_bytes_total', { ...labels, nic: 'nic0' })).toBe(1);
    expect(await valueOf('wirt_instance_network_transmit_packets_dropped_total', labels)).toBe(6);
    expect(await valueOf('wirt_instance_io_pressure_ratio', labels)).toBe(0.5);
  });

  it('has the state of every instance, and the rest only of those that run', async () => {
    const { families } = await scrape([running(0), stopped]);
    const ofStopped = families.filter(({ series }) =>
      series.some(({ labels }) => labels['id'] === stopped.id),
    );
    expect(ofStopped.map(({ name }) => name)).toEqual(['wirt_instance_state']);
    expect(await valueOf('wirt_instance_state', { instance: 'old', state: 'stopped' })).toBe(1);
    expect(await valueOf('wirt_instances', { state: 'running' })).toBe(1);
    expect(await valueOf('wirt_instances', { state: 'crashed' })).toBe(0);
  });

  it('leaves out what is not known, and what has no limit', async () => {
    const one = running(0);
    const usage = someUsage(one.id, one.name);
    const { limitCores: _limit, pressure: _pressure, ...cpu } = usage.cpu;
    const { families } = await scrape([{ ...one, usage: { ...usage, cpu, memory: { usedMib: 1 }, io: {} } }]);
    const empty = families.filter(({ name, series }) => name.startsWith('wirt_') && series.length === 0);
    expect(empty.map(({ name }) => name)).toEqual([
      'wirt_instance_cpu_limit_cores',
      'wirt_instance_cpu_pressure_ratio',
      'wirt_instance_memory_swapped_bytes',
      'wirt_instance_memory_ceiling_bytes',
      'wirt_instance_memory_guest_bytes',
      'wirt_instance_memory_pressure_ratio',
      'wirt_instance_io_pressure_ratio',
    ]);
  });

  it('escapes what would end a label', async () => {
    const name = 'a"b\\c\nd';
    const { text, families } = await scrape([running(0, name)]);
    expect(text).toContain(String.raw`instance="a\"b\\c\nd"`);
    const states = families.find((family) => family.name === 'wirt_instance_state');
    expect(states?.series[0]?.labels['instance']).toBe(name);
  });

  it('has as many series for a hundred instances as a hundred times those of one, and a constant', async () => {
    const count = async (instances: number): Promise<number> => {
      const { families } = await scrape(Array.from({ length: instances }, (_, index) => running(index)));
      const own = families.filter(({ name }) => name.startsWith('wirt_'));
      return own.reduce((sum, { series }) => sum + series.length, 0);
    };
    const [none, one, hundred] = [await count(0), await count(1), await count(100)];
    expect(one - none).toBeLessThanOrEqual(32);
    expect(hundred - none).toBe(100 * (one - none));
  });

  it('gives two scrapes side by side each a whole page', async () => {
    const survey = async () => ({ at, passes: 7, passSeconds: 0.25, instances: [running(0)] });
    const { app } = await openDoor({ usage: { survey } });
    const pages = await Promise.all([app.inject({ url: '/metrics' }), app.inject({ url: '/metrics' })]);
    const names = pages.map(({ body }) => readExposition(body).map(({ name }) => name));
    expect(names[0]).toEqual(names[1]);
  });

  it('tells what wirtd is and takes', async () => {
    expect(await valueOf('wirt_build_info', { version: '0.1.0', node: 'v24.0.0' })).toBe(1);
    expect(await valueOf('process_resident_memory_bytes')).toBeGreaterThan(1_000_000);
    expect(await valueOf('wirt_usage_passes_total')).toBe(7);
    expect(await valueOf('wirt_usage_last_pass_timestamp_seconds')).toBe(Date.parse(at) / 1000);
  });

  it('follows the conventions: counters end in _total, and no name has a unit that is not a base unit', async () => {
    const { families } = await scrape([running(0)]);
    const own = families.filter(({ name }) => name.startsWith('wirt_'));
    const wrong = own.filter(
      ({ name, type }) =>
        (type === 'counter') !== name.endsWith('_total') ||
        /(_(mib|kib|mb|kb|ms|milliseconds|percent|minutes)(_|$))/.test(name),
    );
    expect(wrong.map(({ name }) => name)).toEqual([]);
  });
});

describe('docs/reference/metrics.md', () => {
  it('has each metric of wirtd with its type, labels and meaning, and no other', async () => {
    const { families } = await scrape([running(0), stopped]);
    const shown = docs('reference/metrics.md')
      .split('\n')
      .filter((line) => line.startsWith('| `wirt_'))
      .map((line) =>
        line
          .split('|')
          .map((cell) => cell.trim())
          .slice(1, 5),
      );
    const wanted = families
      .filter(({ name }) => name.startsWith('wirt_'))
      .map(({ name, type, help, series }) => {
        const labels = Object.keys(series[0]?.labels ?? {}).map((label) => `\`${label}\``);
        return [`\`${name}\``, type, labels.sort().join(', '), help];
      });
    expect(shown).toEqual(wanted);
  });

  it('names the metrics of the process that are there, and no other', async () => {
    const { families } = await scrape([]);
    const shown = new Set(docs('reference/metrics.md').match(/`(process|nodejs)_\w+`/g));
    const wanted = families.map(({ name }) => `\`${name}\``).filter((name) => !name.startsWith('`wirt_'));
    expect([...shown].sort()).toEqual(wanted.sort());
  });
});

describe('docs/howto/grafana-dashboard.json', () => {
  const dashboard = JSON.parse(docs('howto/grafana-dashboard.json')) as {
    panels: { title: string; targets?: { expr: string }[] }[];
    templating: { list: { query?: unknown }[] };
  };
  const queries = [
    ...dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
    ...dashboard.templating.list.map(({ query }) => JSON.stringify(query ?? '')),
  ];

  it('asks only for metrics that there are', async () => {
    const { families } = await scrape([running(0)]);
    const there = new Set(families.map(({ name }) => name));
    const asked = new Set(queries.flatMap((query) => query.match(/\b(wirt|process|nodejs)_\w+/g) ?? []));
    expect(asked.size).toBeGreaterThan(15);
    expect([...asked].filter((name) => !there.has(name))).toEqual([]);
  });

  it('selects by labels that there are, and takes rates of counters only', async () => {
    const { families } = await scrape([running(0)]);
    for (const query of queries) {
      for (const [, name = '', selector = ''] of query.matchAll(/\b((?:wirt|process)_\w+)\{([^}]*)\}/g)) {
        const family = families.find((each) => each.name === name);
        const labels = Object.keys(family?.series[0]?.labels ?? {});
        const selected = [...selector.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)].map(([, label = '']) => label);
        // What Prometheus adds itself.
        expect([...labels, 'job', 'host'], name).toEqual(expect.arrayContaining(selected));
      }
      for (const [, name] of query.matchAll(/\b(?:rate|increase|irate)\((\w+)/g))
        expect(families.find((each) => each.name === name)?.type, name).toBe('counter');
    }
  });
});
