/**
 * Downloads over https, and over http where the digest is known or the server is this host. A broken transfer is continued
 * where it stopped, in this call and in later ones, as long as the server says that the file is still the same. What is
 * returned is whole, checked and durable. Mirrors, proxies, credentials and unpacking are left out.
 */
import { STATUS_CODES } from 'node:http';
import { isAbsolute } from 'node:path';
import { WirtError } from '@wirt/api';
import type { Clock, Downloader, DownloadRequest } from '@wirt/core';
import { shownUrl, WebRefusal } from '../../platform/web-address.ts';
import {
  defaultDeadlines,
  openWeb,
  type WebAnswer,
  type WebDeadlines,
  WebFailure,
} from '../../platform/web-request.ts';
import { hasEnd, lengthOf, rangeOf, retryAfterMs, unsatisfiedTotal, validatorOf } from './answer-head.ts';
import { PartFile } from './part-file.ts';

export interface DownloaderOptions {
  readonly clock: Pick<Clock, 'sleep'>;
  readonly deadlines?: WebDeadlines;
  /** Before the first retry; doubles with each one. Default 1 s. */
  readonly backOffMs?: number;
  /** What a crash of the host may cost. Default 64 MiB. */
  readonly checkpointBytes?: number;
}

/** In a row, without at least `steadyBytes` of progress. */
const maxRetries = 5;
const steadyBytes = 1024 * 1024;

/** Answers after which asking again may help. */
const passing = [408, 425, 429, 500, 502, 503, 504];

export function createDownloader(options: DownloaderOptions): Downloader {
  return {
    async fetch(request) {
      checkRequest(request);
      try {
        const { url, signal } = request;
        const { checkpointBytes = 64 * 1024 * 1024 } = options;
        await using part = await PartFile.open(request.target, { url, checkpointBytes, signal });
        return await fetchInto(part, request, options);
      } catch (error) {
        request.signal.throwIfAborted();
        throw errorOf(error, request);
      }
    },
  };
}

/** A defect of the caller, or a file that is known to be too large before anybody is asked. */
function checkRequest({ target, sha256, expectedBytes, maxBytes, ...request }: DownloadRequest): void {
  if (!isAbsolute(target)) throw new WirtError('internal', `The target ${target} is not an absolute path.`);
  if (sha256 !== undefined && !/^[0-9a-f]{64}$/i.test(sha256)) {
    throw new WirtError('request.invalid', 'A SHA-256 has 64 hexadecimal digits.');
  }
  if (expectedBytes !== undefined && expectedBytes > maxBytes) {
    throw tooLarge(request.url, expectedBytes, maxBytes);
  }
}

/** Leaves either the whole file, or what can be continued and its record, or nothing. */
async function fetchInto(part: PartFile, request: DownloadRequest, options: DownloaderOptions) {
  const { url, expectedBytes, signal } = request;
  const wantedSha256 = request.sha256?.toLowerCase();
  try {
    await transfer(part, request, options);
    const { bytes } = part;
    if (expectedBytes !== undefined && bytes !== expectedBytes) throw mismatch(url, { bytes, expectedBytes });
    const sha256 = part.digest();
    if (wantedSha256 !== undefined && sha256 !== wantedSha256) {
      throw mismatch(url, { sha256, expectedSha256: wantedSha256 });
    }
    await part.finish();
    return { bytes, sha256 };
  } catch (error) {
    const broken =
      signal.aborted ||
      error instanceof WebFailure ||
      (error instanceof WirtError && error.code === 'download.failed');
    // A second error, of keeping or removing, must not hide the first.
    if (broken && part.validator !== undefined && part.bytes > 0) await part.keep().catch(() => undefined);
    else await part.discard().catch(() => undefined);
    throw error;
  }
}

/** Asks again until the body has come to its end. */
async function transfer(part: PartFile, request: DownloadRequest, options: DownloaderOptions): Promise<void> {
  const { backOffMs = 1_000 } = options;
  let best = part.bytes;
  let answered = false;
  for (let retries = 0; ; ) {
    let waitMs = 0;
    try {
      using answer = await ask(part, request, options);
      answered = true;
      if (answer.status === 200 || answer.status === 206 || answer.status === 416) {
        if (await receive(part, answer, request)) return;
        throw new WebFailure('broken', 'The server sent another part of the file than it was asked for.');
      }
      waitMs = retryAfterMs(answer.headers);
      const reason = `The server answered ${answer.status} ${STATUS_CODES[answer.status] ?? ''}`.trimEnd();
      if (!passing.includes(answer.status)) throw failed(request.url, new Error(`${reason}.`));
      throw new WebFailure('broken', `${reason}.`);
    } catch (error) {
      request.signal.throwIfAborted();
      // Who never answered is not asked again: more likely the address is wrong than that it helps.
      if (!(error instanceof WebFailure) || !answered) throw error;
      retries = part.bytes >= best + steadyBytes ? 1 : retries + 1;
      best = Math.max(best, part.bytes);
      if (retries > maxRetries) throw error;
      await options.clock.sleep(Math.max(waitMs, backOffMs * 2 ** (retries - 1)), request.signal);
    }
  }
}

function ask(part: PartFile, request: DownloadRequest, options: DownloaderOptions): Promise<WebAnswer> {
  const rest: Record<string, string> =
    part.bytes > 0 && part.validator !== undefined
      ? { range: `bytes=${part.bytes}-`, 'if-range': part.validator }
      : {};
  return openWeb({
    url: request.url,
    headers: rest,
    plainHttp: request.sha256 !== undefined,
    deadlines: options.deadlines ?? defaultDeadlines,
    signal: request.signal,
  });
}

/** Takes the body in. False when it was of no use and the file has to be asked for from its start. */
async function receive(part: PartFile, answer: WebAnswer, request: DownloadRequest): Promise<boolean> {
  const { url, expectedBytes, maxBytes, sha256, onProgress } = request;
  const placed = await place(part, answer);
  if (placed === undefined) return false;
  const { totalBytes, whole } = placed;
  if (totalBytes !== undefined) {
    if (totalBytes > maxBytes) throw tooLarge(url, totalBytes, maxBytes);
    if (expectedBytes !== undefined && totalBytes !== expectedBytes) {
      throw mismatch(url, { bytes: totalBytes, expectedBytes });
    }
  }
  if (whole) return true;
  if (!hasEnd(answer.headers) && sha256 === undefined) {
    throw failed(url, new Error('The server does not say where the file ends, and no SHA-256 is known.'));
  }
  const announced = totalBytes ?? expectedBytes;
  if (announced !== undefined) await part.requireRoom(announced - part.bytes);
  onProgress(part.bytes, announced);
  for await (const chunk of answer.chunks()) {
    const bytes = part.bytes + chunk.length;
    if (bytes > maxBytes) throw tooLarge(url, bytes, maxBytes);
    if (announced !== undefined && bytes > announced)
      throw mismatch(url, { bytes, expectedBytes: announced });
    await part.append(chunk);
    onProgress(part.bytes, announced);
  }
  if (announced !== undefined && part.bytes < announced) {
    // With a size that only the caller knows, a body that came to its end is the whole of a wrong file.
    if (totalBytes === undefined && hasEnd(answer.headers)) return true;
    throw new WebFailure('broken', `The server sent ${part.bytes} of ${announced} bytes.`);
  }
  return true;
}

interface Placed {
  readonly totalBytes: number | undefined;
  /** There is nothing to come. */
  readonly whole: boolean;
}

/** Makes the file ready for the body; undefined when it does not follow what is there. */
async function place(part: PartFile, { status, headers }: WebAnswer): Promise<Placed | undefined> {
  if (status === 200) {
    await part.restart(validatorOf(headers));
    return { totalBytes: lengthOf(headers), whole: false };
  }
  if (part.bytes > 0) {
    const range = rangeOf(headers);
    // An ETag that differs comes from servers that do not know If-Range.
    const same = headers.etag === undefined || headers.etag === part.validator || part.validator?.[0] !== '"';
    if (status === 206 && same && range?.firstByte === part.bytes) {
      return { totalBytes: range.totalBytes, whole: false };
    }
    if (status === 416 && same && unsatisfiedTotal(headers) === part.bytes) {
      return { totalBytes: part.bytes, whole: true };
    }
  }
  await part.restart(undefined);
  return undefined;
}

function failed(url: string, cause: unknown): WirtError {
  return new WirtError('download.failed', `Could not download ${shownUrl(url)}.`, {
    cause,
    hint: `Can this host reach the server? curl -I ${URL.parse(url)?.origin}`,
    details: { url: shownUrl(url) },
  });
}

function mismatch(url: string, details: Readonly<Record<string, string | number>>): WirtError {
  const { bytes, expectedBytes, sha256, expectedSha256 } = details;
  const what =
    sha256 === undefined
      ? `has ${bytes} bytes or more and not ${expectedBytes}`
      : `has the SHA-256 ${sha256} and not ${expectedSha256}`;
  return new WirtError('download.checksum_mismatch', `The file at ${shownUrl(url)} ${what}.`, {
    hint: 'Nothing of it was kept. Try again; if it stays so, do not use it, and tell those who run the server.',
    details: { url: shownUrl(url), ...details },
  });
}

function tooLarge(url: string, bytes: number, maxBytes: number): WirtError {
  const message = `The file at ${shownUrl(url)} has ${bytes} bytes or more; ${maxBytes} are allowed.`;
  return new WirtError('download.too_large', message, {
    hint: 'Make room where it is to be stored, or take a smaller file.',
    details: { url: shownUrl(url), bytes, maxBytes },
  });
}

function errorOf(error: unknown, { url }: DownloadRequest): WirtError {
  if (error instanceof WirtError) return error;
  if (error instanceof WebFailure) return failed(url, error);
  if (!(error instanceof WebRefusal)) {
    return new WirtError('internal', `Could not download ${shownUrl(url)}.`, { cause: error });
  }
  return new WirtError('download.refused', `Wirt does not download ${shownUrl(url)}.`, {
    cause: error,
    hint: 'Use https, give the SHA-256 of the file, or fetch it by hand and import it from this host.',
    details: { url: shownUrl(url) },
  });
}
