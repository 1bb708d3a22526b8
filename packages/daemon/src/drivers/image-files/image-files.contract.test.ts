import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { imageFilesContract } from '@wirt/core/contract/image-files';
import { createImageFiles } from './image-files.ts';

imageFilesContract('image-files', async () => {
  const stateDirectory = await mkdtemp(join(tmpdir(), 'wirt-images-'));
  return {
    open: () => createImageFiles({ stateDirectory }),
    destroy: () => rm(stateDirectory, { recursive: true, force: true }),
  };
});
