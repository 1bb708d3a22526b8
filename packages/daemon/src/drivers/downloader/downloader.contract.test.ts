import { downloaderContract } from '@wirt/core/contract/downloader';
import { systemClock } from '../../platform/clock.ts';
import { file, startWebServer } from '../../platform/web-server.fixture.ts';
import { createDownloader } from './downloader.ts';

downloaderContract('downloader', async () => {
  const server = await startWebServer();
  const dead = await startWebServer();
  await dead[Symbol.asyncDispose]();
  let files = 0;
  return {
    open: () => createDownloader({ clock: systemClock, backOffMs: 1 }),
    serve: async (content, cuts = []) => {
      files += 1;
      const left = [...cuts];
      server.serve(`/file-${files}`, file({ content, cutAfter: () => left.shift() }));
      return `${server.url}/file-${files}`;
    },
    partsAsked: () => server.requests.filter(({ range }) => range !== undefined).length,
    deadUrl: `${dead.url}/file`,
    destroy: async () => {
      await server[Symbol.asyncDispose]();
    },
  };
});
