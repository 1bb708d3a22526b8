import { existsSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { seedFilesContract } from '@wirt/core/contract/seed-files';
import { describe } from 'vitest';
import { runToSuccess } from '../../platform/subprocess.ts';
import { createSeedIso } from './seed-iso.ts';

const inPath = (name: string): boolean =>
  (process.env['PATH'] ?? '').split(delimiter).some((directory) => existsSync(join(directory, name)));

// isoinfo comes with genisoimage, and reads what it wrote.
describe.skipIf(!inPath('genisoimage') || !inPath('isoinfo'))('with genisoimage', () => {
  seedFilesContract('seed-iso', async () => {
    const stateDirectory = await mkdtemp(join(tmpdir(), 'wirt-seeds-'));
    // As wirtd makes its state directory.
    await chmod(stateDirectory, 0o711);
    const isoinfo = async (path: string, ...args: string[]): Promise<string> =>
      (await runToSuccess('isoinfo', ['-i', path, ...args], { timeoutMs: 10_000, maxStdoutBytes: 4_194_304 }))
        .stdout;
    return {
      open: () => createSeedIso({ stateDirectory }),
      async read(path) {
        const listed = (await isoinfo(path, '-R', '-f')).split('\n').filter(Boolean);
        const files: Record<string, string> = {};
        for (const name of listed) files[name.slice(1)] = await isoinfo(path, '-R', '-x', name);
        return files;
      },
      label: async (path) => /^Volume id: (.*?)\s*$/m.exec(await isoinfo(path, '-d'))?.[1],
      destroy: () => rm(stateDirectory, { recursive: true, force: true }),
    };
  });
});
