import { describe, expect, it } from 'vitest';
import {
  anOperation,
  doneOperation,
  problem,
  runWirt,
  type Script,
  startScriptedDaemon,
  startWirt,
} from '../scripted-daemon.ts';
import { aDiskImage, anImage } from '../scripted-records.ts';

const target = { kind: 'image', id: anImage.id, name: 'micro' };
const building = { ...anOperation, kind: 'image.build', target, cancellable: true, stage: 'download' };

describe('wirt image', () => {
  it('ls and show print images', async () => {
    await using daemon = await startScriptedDaemon({
      'GET /v1/images': () => ({ json: { items: [anImage, aDiskImage] } }),
      'GET /v1/images/micro': () => ({ json: anImage }),
      'GET /v1/images/debian-12': () => ({ json: aDiskImage }),
    });
    expect((await runWirt(['image', 'ls'], { daemon })).stdout).toBe(
      [
        'NAME       STATE  FORMAT  STORED    DISK   BOOTS BY    SHA-256       FROM',
        'micro      ready  kernel  30.0 MiB  -      -           -             micro',
        'debian-12  ready  qcow2   300 MiB   4 GiB  bios, uefi  abababababab  debian-12',
        '',
      ].join('\n'),
    );
    const { stdout } = await runWirt(['image', 'show', 'micro'], { daemon });
    expect(stdout).toMatch(/Kernel arguments +console=ttyS0/);
    expect(stdout).not.toContain('SHA-256');
    const disk = (await runWirt(['image', 'show', 'debian-12'], { daemon })).stdout;
    expect(disk).toMatch(/SHA-256 +(ab){32}\n/);
    expect(disk).toMatch(/cloud-init +yes/);
  });

  it('build waits, and says how to go on', async () => {
    await using daemon = await startScriptedDaemon({
      'POST /v1/images/build': () => ({ status: 202, json: building }),
      [`GET /v1/operations/${building.id}`]: () => ({ json: { ...building, state: 'done' } }),
      [`GET /v1/images/${anImage.id}`]: () => ({ json: anImage }),
    });
    const { code, stdout } = await runWirt(['image', 'build', 'micro', '--name', 'm2'], { daemon });
    expect([code, stdout]).toEqual([0, 'Image micro is ready, 30.0 MiB. Run it: wirt run micro\n']);
    expect(daemon.asked[0]?.json).toEqual({ recipe: 'micro', name: 'm2' });
    expect(JSON.parse((await runWirt(['image', 'build', 'micro', '-o', 'json'], { daemon })).stdout)).toEqual(
      anImage,
    );
  });

  it('build cancels at the first Ctrl-C, and tells that it was cancelled', async () => {
    let operation: object = building;
    const looked = Promise.withResolvers<void>();
    const look: Script = (_, response) => {
      response.on('finish', looked.resolve);
      return { json: operation };
    };
    await using daemon = await startScriptedDaemon({
      'POST /v1/images/build': () => ({ status: 202, json: building }),
      [`GET /v1/operations/${building.id}`]: look,
      [`POST /v1/operations/${building.id}/cancel`]: (_, response) => {
        const error = problem(409, 'operation.cancelled', 'The build of micro was cancelled.').json;
        operation = { ...building, state: 'cancelled', error };
        response.on('finish', () => daemon.emit({ revision: 9, kind: 'operation', id: building.id }));
        return { status: 202, json: building };
      },
    });
    const running = startWirt(['image', 'build', 'micro'], { daemon });
    await looked.promise;
    running.interrupt();
    const { code, stderr } = await running.done;
    expect(code).toBe(4);
    expect(stderr).toContain('The build of micro was cancelled.');
  });

  it('build leaves at the second Ctrl-C', async () => {
    await using daemon = await startScriptedDaemon({
      'POST /v1/images/build': () => ({ status: 202, json: building }),
      [`GET /v1/operations/${building.id}`]: () => ({ json: building }),
      [`POST /v1/operations/${building.id}/cancel`]: () => ({ status: 202, json: building }),
    });
    const running = startWirt(['image', 'build', 'micro', '-o', 'json'], { daemon });
    await daemon.heard(`GET /v1/operations/${building.id}`);
    running.interrupt();
    await running.says('Cancelling; Ctrl-C again to leave.');
    running.interrupt();
    expect((await running.done).code).toBe(130);
  });

  it('build shows progress in plain lines when it takes a while', async () => {
    const stages = [
      { ...building, progress: { done: 5, total: 10, unit: 'steps' } },
      { ...building, stage: 'pack', progress: undefined },
      { ...doneOperation, kind: 'image.build', target },
    ];
    let at = 0;
    await using daemon = await startScriptedDaemon({
      'POST /v1/images/build': () => ({ status: 202, json: building }),
      [`GET /v1/operations/${building.id}`]: () => ({ json: stages[at] }),
      [`GET /v1/images/${anImage.id}`]: () => ({ json: anImage }),
    });
    const running = startWirt(['image', 'build', 'micro'], { daemon, runningClock: true });
    // The next stage is let out when this one has been shown.
    await running.says('Building image micro: download 5 of 10\n');
    at = 1;
    daemon.emit({ revision: 10, kind: 'operation', id: building.id });
    await running.says('Building image micro: pack\n');
    at = 2;
    daemon.emit({ revision: 11, kind: 'operation', id: building.id });
    expect((await running.done).code).toBe(0);
  });

  it('rm tells each failure and removes the rest', async () => {
    await using daemon = await startScriptedDaemon({
      'DELETE /v1/images/a': () => ({}),
      'DELETE /v1/images/b': () => problem(409, 'image.in_use', 'Image b is used by demo.'),
    });
    expect(await runWirt(['image', 'rm', 'b', 'a'], { daemon })).toEqual({
      code: 4,
      stdout: 'Image a is removed\n',
      stderr: 'wirt: Image b is used by demo.\n',
    });
  });
});
