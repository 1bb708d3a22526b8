import { catalogueContract } from '@wirt/core/contract/catalogue';
import { systemClock } from '../../platform/clock.ts';
import { startWebServer } from '../../platform/web-server.fixture.ts';
import { createSimplestreamsCatalogue } from './catalogue-simplestreams.ts';
import { indexText, productsText } from './tree.fixture.ts';

catalogueContract('catalogue-simplestreams', async () => {
  const sizeBytes = 123_456;
  const sha256 = 'ab'.repeat(32);
  const server = await startWebServer();
  const dead = await startWebServer();
  await dead[Symbol.asyncDispose]();
  const images = [
    { os: 'Debian', release: 'bookworm', variant: 'cloud', aliases: 'debian/bookworm/cloud,debian/12/cloud' },
    { os: 'Alpine', release: 'edge', variant: 'default', aliases: 'alpine/edge/default,alpine/edge' },
  ].map((image) => ({ ...image, sizeBytes, sha256 }));
  server.serve('/root/streams/v1/index.json', (_request, response) => void response.end(indexText));
  server.serve(
    '/root/streams/v1/images.json',
    (_request, response) => void response.end(productsText(images)),
  );
  return {
    catalogue: createSimplestreamsCatalogue({
      sources: { full: `${server.url}/root/`, dead: dead.url },
      arch: 'amd64',
      clock: systemClock,
    }),
    sizeBytes,
    sha256,
    destroy: () => server[Symbol.asyncDispose]() as Promise<void>,
  };
});
