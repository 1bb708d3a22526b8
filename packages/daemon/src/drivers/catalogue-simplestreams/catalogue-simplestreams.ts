/**
 * Catalogues in the simplestreams format on web servers. Whose they are is proven by TLS alone (signatures are not read),
 * so http is taken only from this host, and never from where a catalogue redirects to. What was read is used again for five
 * minutes; documents have a limit and a deadline.
 */
import { STATUS_CODES } from 'node:http';
import { nearest, WirtError } from '@wirt/api';
import {
  type Catalogue,
  type Clock,
  indexProducts,
  maxDocumentBytes,
  type ProductIndex,
  parseIndex,
  parseProducts,
  urlBelow,
} from '@wirt/core';
import { checkedUrl, shownUrl, WebRefusal } from '../../platform/web-address.ts';
import { defaultDeadlines, openWeb, type WebDeadlines, WebFailure } from '../../platform/web-request.ts';

export interface SimplestreamsOptions {
  /** Addresses of the catalogues, the part above `streams/v1`, by name. */
  readonly sources: Readonly<Record<string, string>>;
  /** The host's processor; Debian's name, Node's or the kernel's. */
  readonly arch: string;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly deadlines?: WebDeadlines;
}

const keptMs = 5 * 60_000;
/** For one document, from asking to its last byte. */
const documentMs = 120_000;
/** Processor time is the limit of what many files may cost together. */
const maxTotalBytes = 2 * maxDocumentBytes;

/** Throws `daemon.config_invalid` when an address is none that a catalogue can be trusted from. */
export function createSimplestreamsCatalogue(options: SimplestreamsOptions): Catalogue {
  const roots = new Map(Object.entries(options.sources));
  for (const [name, url] of roots) checkSource(name, url);
  const read = new Map<string, { readonly index: ProductIndex; readonly atMs: number }>();

  async function indexOf(source: string, signal: AbortSignal): Promise<ProductIndex> {
    const root = roots.get(source);
    if (root === undefined) throw unknownSource(source, [...roots.keys()]);
    const nowMs = options.clock.monotonicMs();
    const known = read.get(source);
    if (known !== undefined && nowMs - known.atMs < keptMs) return known.index;
    const index = await readCatalogue(root, signal, options);
    read.set(source, { index, atMs: nowMs });
    return index;
  }

  return {
    sources: [...roots.keys()],
    list: async (source, signal) => (await indexOf(source, signal)).entries(),
    async resolve(source, name, signal) {
      const { item, ...found } = (await indexOf(source, signal)).resolve(name);
      return {
        source,
        ...found,
        url: urlBelow(roots.get(source) ?? '', item.path),
        sizeBytes: item.sizeBytes,
        sha256: item.sha256,
        format: item.format,
      };
    },
  };
}

function checkSource(name: string, url: string): void {
  try {
    const { search, hash } = checkedUrl(url, { plainHttp: false, loopback: true });
    if (search !== '' || hash !== '')
      throw new WebRefusal('Paths are added to it: it cannot end with ? or #.');
  } catch (error) {
    throw new WirtError('daemon.config_invalid', `The catalogue ${name} cannot be at ${shownUrl(url)}.`, {
      cause: error,
      hint: 'Give the https address above streams/v1, such as https://images.linuxcontainers.org',
    });
  }
}

function unknownSource(source: string, known: readonly string[]): WirtError {
  const near = nearest(source, known);
  const all = known.length === 0 ? 'There is none.' : `There are: ${known.join(', ')}`;
  const shown = JSON.stringify(source.slice(0, 80));
  return new WirtError('catalogue.not_found', `There is no catalogue ${shown}.`, {
    hint: near === undefined ? all : `Did you mean ${near}? ${all}`,
    details: { source, names: known },
  });
}

async function readCatalogue(
  root: string,
  signal: AbortSignal,
  options: SimplestreamsOptions,
): Promise<ProductIndex> {
  const url = urlBelow(root, 'streams/v1/index.json');
  const index = await readDocument(url, signal, options);
  const products = [];
  let totalBytes = 0;
  for (const path of parseIndex(index, shownUrl(url))) {
    const fileUrl = urlBelow(root, path);
    const text = await readDocument(fileUrl, signal, options);
    totalBytes += text.length;
    if (totalBytes > maxTotalBytes) throw tooLarge(root, maxTotalBytes);
    products.push(...parseProducts(text, shownUrl(fileUrl)));
  }
  return indexProducts(products, options.arch);
}

/** The text at `url`. Throws `catalogue.unreachable`, `catalogue.malformed`, the signal's reason. */
async function readDocument(
  url: string,
  signal: AbortSignal,
  { deadlines = defaultDeadlines }: SimplestreamsOptions,
): Promise<string> {
  const tooSlow = AbortSignal.timeout(documentMs);
  try {
    using answer = await openWeb({
      url,
      plainHttp: false,
      deadlines,
      signal: AbortSignal.any([signal, tooSlow]),
    });
    if (answer.status !== 200) {
      const meaning = STATUS_CODES[answer.status] ?? '';
      throw new WebFailure('broken', `The server answered ${answer.status} ${meaning}`.trimEnd());
    }
    const encoding = answer.headers['content-encoding'] ?? 'identity';
    if (encoding !== 'identity') {
      throw malformed(url, new Error('The server sent it compressed, which it was asked not to do.'));
    }
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of answer.chunks()) {
      bytes += chunk.length;
      if (bytes > maxDocumentBytes) throw tooLarge(url, maxDocumentBytes);
      chunks.push(chunk);
    }
    return decode(url, Buffer.concat(chunks));
  } catch (error) {
    signal.throwIfAborted();
    if (tooSlow.aborted) {
      throw unreachable(url, new Error(`It was not read within ${documentMs / 1000} s.`));
    }
    if (error instanceof WebFailure || error instanceof WebRefusal) throw unreachable(url, error);
    throw error;
  }
}

function decode(url: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw malformed(url, error);
  }
}

function unreachable(url: string, cause: unknown): WirtError {
  return new WirtError('catalogue.unreachable', `Could not read the catalogue at ${shownUrl(url)}.`, {
    cause,
    hint: `Can this host reach the server? curl -I ${URL.parse(url)?.origin}`,
    details: { url: shownUrl(url) },
  });
}

function malformed(url: string, cause: unknown): WirtError {
  return new WirtError('catalogue.malformed', `${shownUrl(url)} is no document of a catalogue.`, {
    cause,
    hint: 'The address of a catalogue is the one above streams/v1/index.json. Compare: wirtd --help',
    details: { url: shownUrl(url) },
  });
}

function tooLarge(url: string, maxBytes: number): WirtError {
  return malformed(url, new Error(`It has more than ${maxBytes} bytes.`));
}
