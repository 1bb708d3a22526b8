import { describe, expect, it } from 'vitest';
import { anInstance, problem, runWirt, type Script, startScriptedDaemon } from '../scripted-daemon.ts';
import { done } from '../scripted-records.ts';

const path = '/v1/instances/demo/snapshots';

function snapshot(number: number, name: string, parent?: string, more: object = {}) {
  return {
    id: `01KATESTTESTTESTTESTTESTS${number}`,
    name,
    project: 'default',
    labels: {},
    revision: 5,
    createdAt: '2026-11-22T11:00:00Z',
    spec: { instance: anInstance.id },
    status: {
      state: 'ready',
      ...(parent === undefined ? {} : { parent }),
      consistency: 'frozen',
      disks: [{ disk: 'root', volume: 'V', layer: 'L' }],
      ...more,
    },
  };
}

const before = snapshot(1, 'before');
const target = { kind: 'snapshot', id: before.id, name: 'before' };

async function ran(argv: readonly string[], scripts: Readonly<Record<string, Script>>) {
  await using daemon = await startScriptedDaemon(scripts);
  const result = await runWirt(['snapshot', ...argv], { daemon });
  return { ...result, asked: daemon.asked, lines: daemon.lines, json: daemon.asked[0]?.json };
}

describe('wirt snapshot create', () => {
  const taken = (more: object): Record<string, Script> => ({
    [`POST ${path}`]: () => ({ status: 202, json: done('snapshot.create', target) }),
    [`GET ${path}/${before.id}`]: () => ({ json: snapshot(1, 'before', undefined, more) }),
  });

  it.each([
    [{ consistency: 'frozen' }, 'the guest’s file systems were frozen for it'],
    [{ consistency: 'stopped' }, 'nothing ran'],
    [
      { consistency: 'crash', consistencyReason: 'No guest agent answers.' },
      'the guest was not frozen (No guest agent answers), so it is as after a power cut',
    ],
  ])('says of %j how consistent it is', async (more, told) => {
    const { code, stdout, json } = await ran(['create', 'demo'], taken(more));
    expect([code, stdout]).toEqual([0, `Snapshot before of demo is taken; ${told}\n`]);
    expect(json).toEqual({});
  });

  it('passes on name, description and freezing', async () => {
    const argv = ['create', 'demo', 'before', '-d', 'nightly', '--freeze', 'required'];
    const { json, asked } = await ran(argv, taken({}));
    expect(json).toEqual({ name: 'before', description: 'nightly', freeze: 'required' });
    expect(asked[0]?.headers['idempotency-key']).toBeDefined();
  });
});

describe('wirt snapshot ls and show', () => {
  const items = [
    before,
    snapshot(2, 'patched', before.id, { consistency: 'crash' }),
    snapshot(3, 'tuned', '01KATESTTESTTESTTESTTESTS2', { consistency: 'stopped' }),
    snapshot(4, 'other', before.id, { state: 'creating', consistency: undefined }),
  ];
  const current = { ...anInstance, status: { ...anInstance.status, snapshot: items[1]?.id } };
  const scripts: Record<string, Script> = {
    [`GET ${path}`]: () => ({ json: { items } }),
    'GET /v1/instances/demo': () => ({ json: current }),
  };

  it('ls draws the tree, and marks the one that the disks go on from', async () => {
    expect((await ran(['ls', 'demo'], scripts)).stdout).toBe(
      [
        'SNAPSHOT      STATE     AGE     CONSISTENCY  DISKS  DESCRIPTION',
        'before        ready     60 min  frozen       1      -',
        '├─ patched *  ready     60 min  crash        1      -',
        '│  └─ tuned   ready     60 min  stopped      1      -',
        '└─ other      creating  60 min  -            1      -',
        '',
      ].join('\n'),
    );
    expect((await ran(['ls', 'demo', '-o', 'name'], scripts)).stdout).toBe('before\npatched\ntuned\nother\n');
  });

  it('ls reads every page, since a tree without its roots is none', async () => {
    const pages: Script = ({ query }) => ({
      json:
        query['cursor'] === undefined ? { items: items.slice(0, 1), next: 'c' } : { items: items.slice(1) },
    });
    const { stdout } = await ran(['ls', 'demo'], { ...scripts, [`GET ${path}`]: pages });
    expect(stdout.split('\n')).toHaveLength(6);
  });

  it('ls says what to do where there are none', async () => {
    const none = { ...scripts, [`GET ${path}`]: () => ({ json: { items: [] } }) };
    expect((await ran(['ls', 'demo'], none)).stdout).toBe(
      'No snapshots. Take one: wirt snapshot create demo.\n',
    );
  });

  it('show has its disks, and why the guest was not frozen', async () => {
    const one = snapshot(1, 'before', 'P', { consistency: 'crash', consistencyReason: 'No agent.' });
    const { stdout } = await ran(['show', 'demo', 'before'], {
      [`GET ${path}/before`]: () => ({ json: one }),
    });
    expect(stdout).toMatch(/Consistency +crash\nWhy not frozen +No agent\.\nParent +P/);
    expect(stdout).toContain('DISK  VOLUME  LAYER\nroot  V       L');
  });
});

describe('wirt snapshot restore, rm and export', () => {
  const accepted =
    (kind: string): Script =>
    () => ({ status: 202, json: done(kind, target) });

  it('restore says where the instance is now', async () => {
    const { stdout, lines } = await ran(['restore', 'demo', 'before'], {
      [`POST ${path}/before/restore`]: accepted('snapshot.restore'),
    });
    expect([stdout, lines]).toEqual(['demo is back at snapshot before\n', [`POST ${path}/before/restore`]]);
  });

  it('restore of a running instance tells what the daemon says', async () => {
    const refused: Script = () =>
      problem(409, 'instance.state_conflict', 'demo is running.', { hint: 'Stop it: `wirt stop demo`.' });
    const { code, stderr } = await ran(['restore', 'demo', 'before'], {
      [`POST ${path}/before/restore`]: refused,
    });
    expect([code, stderr]).toEqual([4, 'wirt: demo is running.\n  hint: Stop it: `wirt stop demo`.\n']);
  });

  it('rm removes several, and tells each failure', async () => {
    const gone: Script = () => problem(404, 'snapshot.not_found', 'demo has no snapshot x.');
    const { code, stdout, stderr } = await ran(['rm', 'demo', 'x', 'before'], {
      [`DELETE ${path}/before`]: accepted('snapshot.remove'),
      [`DELETE ${path}/x`]: gone,
    });
    expect([code, stdout, stderr]).toEqual([
      3,
      'Snapshot before is removed\n',
      'wirt: demo has no snapshot x.\n',
    ]);
  });

  it('export names the file by its absolute path', async () => {
    const { json, stdout } = await ran(['export', 'demo', 'before', './x.img', '--disk', 'root'], {
      [`POST ${path}/before/export`]: accepted('snapshot.export'),
    });
    expect(json).toEqual({ format: 'raw', path: `${process.cwd()}/x.img`, disk: 'root' });
    expect(stdout).toBe(`Snapshot before is in ${process.cwd()}/x.img (raw)\n`);
  });
});
