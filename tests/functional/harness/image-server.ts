// A web server of images on this host: a directory, and a simplestreams catalogue of disks put into it, as Incus' image
// server has it. Knows If-Range and parts; can be told to break connections, and counts who came back for the rest.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, normalize } from 'node:path';

export interface CatalogueDisk {
  /** Of a qcow2. */
  readonly file: string;
  /** As in `Debian`, `12`, `cloud`. */
  readonly os: string;
  readonly release: string;
  readonly variant: string;
  /** Debian's name of the processor. Default: this host's. */
  readonly arch?: string;
  readonly version?: string;
  /** What the catalogue says, where it is to lie. */
  readonly says?: { readonly sha256?: string; readonly size?: number; readonly path?: string };
}

export interface ImageServer extends AsyncDisposable {
  /** Root of the catalogue, for `--catalogue`, and of the files in `directory`. */
  readonly url: string;
  readonly directory: string;
  readonly requests: { readonly path: string; readonly range: string | undefined }[];
  /** How many requests asked for a part of a file, of this path or of any. */
  partsAsked(path?: string): number;
  /** Copies the disk in and puts it into the catalogue. Returns the path of its file below `url`. */
  addDisk(disk: CatalogueDisk): Promise<string>;
  /** Writes a file below the root as it is. */
  write(path: string, content: string | Uint8Array): Promise<void>;
  /** Breaks the connection after so many bytes of the body, in the next answers (default: 1) that are files at `path`. */
  cut(path: string, afterBytes: number, times?: number): void;
  /** Sends at most so many bytes a second of every file from now on; undefined: as fast as it goes. */
  throttle(bytesPerSecond: number | undefined): void;
  /** Resolves when the next answer with the file at `path` has begun; rejects after 30 s. */
  asked(path: string): Promise<void>;
}

const hostArch = process.arch === 'x64' ? 'amd64' : process.arch;
const chunkBytes = 64 * 1024;

export async function startImageServer(): Promise<ImageServer> {
  const directory = await mkdtemp(join(tmpdir(), 'wirt-image-server-'));
  const requests: { path: string; range: string | undefined }[] = [];
  const cuts = new Map<string, { afterBytes: number; times: number }>();
  const waiting = new Map<string, (() => void)[]>();
  const products: Record<string, object> = {};
  let bytesPerSecond: number | undefined;

  const write = async (path: string, content: string | Uint8Array): Promise<void> => {
    const target = join(directory, path);
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, content);
  };
  const publish = async (): Promise<void> => {
    const path = 'streams/v1/images.json';
    const images = {
      datatype: 'image-downloads',
      format: 'products:1.0',
      path,
      products: Object.keys(products),
    };
    await write('streams/v1/index.json', JSON.stringify({ format: 'index:1.0', index: { images } }));
    await write(path, JSON.stringify({ format: 'products:1.0', datatype: 'image-downloads', products }));
  };

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = decodeURIComponent((request.url ?? '/').slice(1).split('?')[0] ?? '');
    const range = request.headers.range;
    requests.push({ path, range });
    const source = join(directory, normalize(`/${path}`));
    const info = await stat(source).catch(() => undefined);
    if (info === undefined || !info.isFile()) return void response.writeHead(404).end();
    const etag = `"${info.mtimeMs}-${info.size}"`;
    const asked = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0);
    const first =
      request.headers['if-range'] === undefined || request.headers['if-range'] === etag ? asked : 0;
    if (first > 0 && first >= info.size) {
      return void response.writeHead(416, { etag, 'content-range': `bytes */${info.size}` }).end();
    }
    const part: Record<string, string> =
      first > 0 ? { 'content-range': `bytes ${first}-${info.size - 1}/${info.size}` } : {};
    const head = { etag, 'accept-ranges': 'bytes', 'content-length': info.size - first, ...part };
    response.writeHead(first > 0 ? 206 : 200, head);
    for (const wake of waiting.get(path) ?? []) wake();
    waiting.delete(path);
    await send(source, first, response, takeCut(path), () => bytesPerSecond);
  }

  const takeCut = (path: string): number | undefined => {
    const cut = cuts.get(path);
    if (cut === undefined || cut.times === 0) return undefined;
    cut.times -= 1;
    return cut.afterBytes;
  };

  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  await publish();

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    directory,
    requests,
    partsAsked: (path) =>
      requests.filter((each) => each.range !== undefined && (path === undefined || each.path === path))
        .length,
    async addDisk({ file, os, release, variant, arch = hostArch, version = '20261122_05:24', says = {} }) {
      const system = os.toLowerCase();
      const path = `images/${system}/${release}/${arch}/${variant}/${version}/disk.qcow2`;
      await mkdir(dirname(join(directory, path)), { recursive: true });
      await copyFile(file, join(directory, path));
      const content = await readFile(file);
      const disk = {
        ftype: 'disk-kvm.img',
        path,
        size: content.length,
        sha256: createHash('sha256').update(content).digest('hex'),
        ...says,
      };
      const name = `${system}/${release}`;
      products[`${system}:${release}:${arch}:${variant}`] = {
        aliases: variant === 'default' ? `${name}/default,${name}` : `${name}/${variant}`,
        arch,
        os,
        release,
        release_title: release,
        variant,
        versions: { [version]: { items: { 'disk.qcow2': disk } } },
      };
      await publish();
      return path;
    },
    write,
    cut: (path, afterBytes, times = 1) => void cuts.set(path, { afterBytes, times }),
    throttle: (rate) => {
      bytesPerSecond = rate;
    },
    asked: (path) =>
      new Promise((resolve, reject) => {
        const deadline = setTimeout(() => reject(new Error(`Nobody asked for ${path}.`)), 30_000);
        const wake = (): void => {
          clearTimeout(deadline);
          resolve();
        };
        waiting.set(path, [...(waiting.get(path) ?? []), wake]);
      }),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function send(
  source: string,
  first: number,
  response: ServerResponse,
  cutAfter: number | undefined,
  rate: () => number | undefined,
): Promise<void> {
  let left = cutAfter ?? Number.POSITIVE_INFINITY;
  for await (const chunk of createReadStream(source, { start: first, highWaterMark: chunkBytes })) {
    if (response.destroyed) return;
    const piece = (chunk as Buffer).subarray(0, left);
    left -= piece.length;
    await new Promise<void>((resolve) => response.write(piece, () => resolve()));
    if (left === 0) {
      response.socket?.destroySoon();
      return;
    }
    const bytesPerSecond = rate();
    if (bytesPerSecond !== undefined) await pause((piece.length / bytesPerSecond) * 1000);
  }
  response.end();
}

function pause(ms: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  // The slow server itself, not a wait of a test.
  setTimeout(resolve, ms);
  return promise;
}
