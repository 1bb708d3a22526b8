import { describe, expect, it } from 'vitest';
import { anInstance, problem, runWirt, type Script, startScriptedDaemon } from '../scripted-daemon.ts';
import { aRootVolume, aVolume, done } from '../scripted-records.ts';

const gib = 1024 ** 3;
const target = { kind: 'volume', id: aVolume.id, name: 'data' };

async function ran(argv: readonly string[], scripts: Readonly<Record<string, Script>> = {}) {
  const accepted =
    (kind: string): Script =>
    () => ({ status: 202, json: done(kind, target) });
  await using daemon = await startScriptedDaemon({
    'POST /v1/volumes': accepted('volume.create'),
    'POST /v1/volumes/data/resize': accepted('volume.resize'),
    'POST /v1/volumes/data/flatten': accepted('volume.flatten'),
    'POST /v1/volumes/data/export': accepted('volume.export'),
    'DELETE /v1/volumes/data': accepted('volume.remove'),
    'GET /v1/volumes/data': () => ({ json: aVolume }),
    [`GET /v1/volumes/${aVolume.id}`]: () => ({ json: aVolume }),
    ...scripts,
  });
  const result = await runWirt(['volume', ...argv], { daemon });
  return { ...result, asked: daemon.asked, lines: daemon.lines, json: daemon.asked.at(0)?.json };
}

describe('wirt volume ls and show', () => {
  const list: Script = () => ({ json: { items: [aVolume, aRootVolume] } });
  const holders: Script = () => ({ json: { items: [anInstance] } });

  it('ls shows size, what is allocated, and where each is attached', async () => {
    const scripts = { 'GET /v1/volumes': list, 'GET /v1/instances': holders };
    const { stdout, asked } = await ran(['ls', '--pool', 'fast', '--instance', 'demo'], scripts);
    expect(stdout).toBe(
      [
        'NAME       STATE  SIZE    ALLOCATED  FORMAT  POOL     ATTACHED TO',
        'data       ready  10 GiB  1.5 MiB    qcow2   default  -',
        'demo-root  ready  10 GiB  1.5 MiB    qcow2   default  demo/root',
        '',
      ].join('\n'),
    );
    expect(asked[0]?.query).toEqual({ limit: '100', pool: 'fast', instance: 'demo' });
    expect(asked[1]?.query['fields']).toBe('id,name');
  });

  it('ls asks for no instances where nobody would see them', async () => {
    expect((await ran(['ls', '-o', 'name'], { 'GET /v1/volumes': list })).lines).toEqual(['GET /v1/volumes']);
    const loose: Script = () => ({ json: { items: [aVolume] } });
    expect((await ran(['ls'], { 'GET /v1/volumes': loose })).lines).toEqual(['GET /v1/volumes']);
    const none: Script = () => ({ json: { items: [] } });
    expect((await ran(['ls'], { 'GET /v1/volumes': none })).stdout).toContain('wirt volume create NAME');
  });

  it('show has its layers, and which is written', async () => {
    const base = { volume: aRootVolume.id, layer: '01KATESTTESTTESTTESTTESTY0' };
    const [layer] = aVolume.status.layers;
    const cloned = {
      ...aVolume,
      spec: { ...aVolume.spec, origin: { kind: 'volume', volume: aRootVolume.id, mode: 'linked' } },
      status: { ...aVolume.status, layers: [{ ...layer, parent: base }] },
    };
    const { stdout } = await ran(['show', 'data'], { 'GET /v1/volumes/data': () => ({ json: cloned }) });
    expect(stdout).toMatch(new RegExp(`Made from +volume ${aRootVolume.id} \\(linked\\)`));
    expect(stdout).toMatch(/Attached to +-/);
    expect(stdout).toMatch(new RegExp(`Y1 +qcow2 +10 GiB +${base.layer} of volume ${base.volume} +written`));
  });
});

describe('wirt volume create and clone', () => {
  it.each([
    [['create', 'data', '--size', '10G'], { name: 'data', sizeBytes: 10 * gib }],
    [
      ['create', 'data', '-s', '1T', '--pool', 'fast', '--format', 'raw'],
      { name: 'data', sizeBytes: 1024 * gib, pool: 'fast', format: 'raw' },
    ],
    [
      ['create', 'data', '--from-image', 'debian-12'],
      { name: 'data', source: { kind: 'image', image: 'debian-12', mode: 'linked' } },
    ],
    [
      ['create', 'data', '--from-volume', 'golden', '--full', '--format', 'raw'],
      { name: 'data', format: 'raw', source: { kind: 'volume', volume: 'golden', mode: 'full' } },
    ],
    [
      ['clone', 'golden', 'data'],
      { name: 'data', source: { kind: 'volume', volume: 'golden', mode: 'linked' } },
    ],
    [
      ['clone', 'golden', 'data', '--full', '--size', '20G'],
      { name: 'data', sizeBytes: 20 * gib, source: { kind: 'volume', volume: 'golden', mode: 'full' } },
    ],
  ])('%j asks for just that', async (argv, body) => {
    const { code, stdout, json, asked } = await ran(argv);
    expect([code, stdout]).toEqual([0, 'Volume data is ready: 10 GiB in pool default\n']);
    expect(json).toEqual(body);
    expect(asked[0]?.headers['idempotency-key']).toBeDefined();
  });

  it.each([
    [['create', 'data'], 'An empty volume needs a size.'],
    [['create', 'data', '--size', '10'], '--size needs a unit: 10M or 10G.'],
    [['create', 'data', '--size', '1G', '--full'], '--full goes with --from-image or --from-volume.'],
    [['create', 'data', '--from-image', 'a', '--from-volume', 'b'], 'exclude each other'],
    [['create', 'data', '--from-image', 'a', '--format', 'raw'], 'A linked clone is always qcow2.'],
    [['resize', 'data', '20'], 'SIZE needs a unit: 20M or 20G.'],
    [['resize', 'data', '+x'], 'SIZE takes a size such as 512M or 10G'],
    [['resize', 'data', '-5G'], 'is no option'],
  ])('%j is refused before anything is asked', async (argv, reason) => {
    const { code, stderr, lines } = await ran(argv);
    expect([code, lines]).toEqual([2, []]);
    expect(stderr).toContain(reason);
  });

  it('goes on alone when told so', async () => {
    const { stdout, lines } = await ran(['clone', 'golden', 'data', '--no-wait']);
    expect(stdout).toBe('Creating volume data goes on as operation 01KATESTTESTTESTTESTTESTP1\n');
    expect(lines).toEqual(['POST /v1/volumes']);
  });
});

describe('wirt volume resize, rename, flatten, export and rm', () => {
  it('resize takes a size, or how much more', async () => {
    const absolute = await ran(['resize', 'data', '20G']);
    expect([absolute.json, absolute.stdout]).toEqual([
      { sizeBytes: 20 * gib },
      'Volume data has 10 GiB now\n',
    ]);
    const more = await ran(['resize', 'data', '+5G']);
    expect(more.lines.slice(0, 2)).toEqual(['GET /v1/volumes/data', 'POST /v1/volumes/data/resize']);
    expect(more.asked[1]?.json).toEqual({ sizeBytes: 15 * gib });
  });

  it('rename asks for the new name', async () => {
    const renamed: Script = () => ({ json: { ...aVolume, name: 'archive' } });
    const { stdout, json } = await ran(['rename', 'data', 'archive'], { 'PATCH /v1/volumes/data': renamed });
    expect([json, stdout]).toEqual([{ name: 'archive' }, 'Volume data is now archive\n']);
  });

  it('flatten says that it stands alone', async () => {
    expect((await ran(['flatten', 'data'])).stdout).toBe('Volume data stands alone now\n');
  });

  it('export names the file by its absolute path', async () => {
    const { json, stdout } = await ran(['export', 'data', './data.img']);
    expect(json).toEqual({ format: 'raw', path: `${process.cwd()}/data.img` });
    expect(stdout).toBe(`Volume data is in ${process.cwd()}/data.img (raw)\n`);
  });

  it('rm removes several, and tells each failure', async () => {
    const used: Script = () => problem(409, 'volume.in_use', 'Volume root is attached to demo.');
    expect(await ran(['rm', 'root', 'data'], { 'DELETE /v1/volumes/root': used })).toMatchObject({
      code: 4,
      stdout: 'Volume data is removed\n',
      stderr: 'wirt: Volume root is attached to demo.\n',
    });
    const left = await ran(['rm', 'data', '--no-wait', '-o', 'name']);
    expect([left.stdout, left.lines]).toEqual(['data\n', ['DELETE /v1/volumes/data']]);
  });
});
