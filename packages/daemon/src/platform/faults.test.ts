import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { createFaults } from './faults.ts';

const faultsPath = fileURLToPath(new URL('./faults.ts', import.meta.url));

describe('injected faults', () => {
  it('are none without the variable', async () => {
    for (const text of [undefined, '']) await createFaults(text).at('instance.start/spawn');
  });

  it('fail the step named, every time, and no other', async () => {
    const faults = createFaults('fail:instance.start/spawn,fail:instance.stop/powerdown');
    await faults.at('instance.start/cgroup');
    for (const step of ['instance.start/spawn', 'instance.start/spawn', 'instance.stop/powerdown']) {
      await expect(faults.at(step)).rejects.toThrow(`injected at ${step}`);
    }
  });

  it('fail a step only the nth time when a number is given', async () => {
    const faults = createFaults('fail:instance.start/spawn#2');
    await faults.at('instance.start/spawn');
    await expect(faults.at('instance.start/spawn')).rejects.toThrow('injected');
    await faults.at('instance.start/spawn');
  });

  it('crash the process as kill -9 does, before another line of it runs', async () => {
    const script = `
      import { createFaults } from ${JSON.stringify(faultsPath)};
      const faults = createFaults('crash:instance.start/spawn#2');
      await faults.at('instance.start/spawn');
      process.on('exit', () => process.stdout.write('exit'));
      process.stdout.write('first');
      await faults.at('instance.start/spawn');
      process.stdout.write('second');
    `;
    const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
      cwd: fileURLToPath(new URL('.', import.meta.url)),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.on('data', (bytes) => {
      output += bytes;
    });
    const [, signal] = await once(child, 'close');
    expect({ signal, output }).toEqual({ signal: 'SIGKILL', output: 'first' });
  });

  it('refuse a text that cannot be read, and name it', () => {
    for (const bad of [
      'crash',
      'crash:',
      'burn:instance.start/spawn',
      'fail:a/b#0',
      'fail:a/b,',
      'fail:A b',
    ]) {
      expect(() => createFaults(bad), bad).toThrow(
        expect.objectContaining({ code: 'daemon.config_invalid' }),
      );
    }
  });
});
