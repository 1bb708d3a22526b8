/**
 * One question to the metadata service and its answer, as EC2's gives it; without sockets. Of the question only method, path and the
 * three headers of IMDSv2 count. What a guest may have is decided before what there is.
 *
 * Source: EC2 User Guide, "Use the Instance Metadata Service to access instance metadata".
 */
import type { MetadataGuest } from '@wirt/core';
import { maxTtlSeconds, type Tokens } from './tokens.ts';

export interface Question {
  readonly method: string;
  /** As it came: a path, perhaps with a query. */
  readonly url: string;
  readonly token?: string | undefined;
  readonly ttl?: string | undefined;
  /** It has come through a proxy, of which an open one would give tokens to anybody. */
  readonly forwarded: boolean;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array;
}

export const tokenHeader = 'x-aws-ec2-metadata-token';
export const ttlHeader = 'x-aws-ec2-metadata-token-ttl-seconds';

/** Versions that EC2 has; all of them show the newest tree. */
export const versions: readonly string[] = [
  ...[
    '1.0',
    '2007-01-19',
    '2007-03-01',
    '2007-08-29',
    '2007-10-10',
    '2007-12-15',
    '2008-02-01',
    '2008-09-01',
  ],
  ...['2009-04-04', '2011-01-01', '2011-05-01', '2012-01-12', '2014-02-25', '2014-11-05', '2015-10-20'],
  ...['2016-04-19', '2016-06-30', '2016-09-02', '2018-03-28', '2018-08-17', '2018-09-24', '2019-10-01'],
  ...['2020-10-27', '2021-01-03', '2021-03-23', '2021-07-15', '2022-09-24', '2024-04-11', 'latest'],
];

const maxUrlLength = 1024;
const text = 'text/plain';
const bytes = 'application/octet-stream';

export async function answer(question: Question, guest: MetadataGuest, tokens: Tokens): Promise<Answer> {
  if (!guest.enabled) return problem(403, 'Forbidden');
  const path = segmentsOf(question.url);
  if (path === undefined) return problem(400, 'Bad Request');
  if (path.names.join('/') === 'latest/api/token') return issue(question, guest, tokens);
  const { method } = question;
  if (method !== 'GET' && method !== 'HEAD')
    return problem(405, 'Method Not Allowed', { allow: 'GET, HEAD' });
  const left = question.token === undefined ? undefined : tokens.secondsLeft(guest.id, question.token);
  const free = question.token === undefined && guest.tokens === 'optional';
  if (left === undefined && !free) return problem(401, 'Unauthorized');
  const headers = left === undefined ? {} : { [ttlHeader]: String(left) };
  const found = await find(path, guest);
  if (found === undefined) return problem(404, 'Not Found');
  const type = typeof found === 'string' ? text : bytes;
  return { status: 200, headers: { ...headers, 'content-type': type }, body: found };
}

function issue({ method, ttl, forwarded }: Question, guest: MetadataGuest, tokens: Tokens): Answer {
  if (method !== 'PUT') return problem(405, 'Method Not Allowed', { allow: 'PUT' });
  if (forwarded) return problem(403, 'Forbidden');
  const seconds = /^[0-9]{1,5}$/.test(ttl ?? '') ? Number(ttl) : 0;
  if (seconds < 1 || seconds > maxTtlSeconds) return problem(400, 'Bad Request');
  const body = tokens.issue(guest.id, seconds);
  return { status: 200, headers: { 'content-type': text, [ttlHeader]: String(seconds) }, body };
}

export function problem(status: number, reason: string, headers: Record<string, string> = {}): Answer {
  return { status, headers: { ...headers, 'content-type': text }, body: `${status} - ${reason}` };
}

interface Path {
  readonly names: readonly string[];
  /** Whether it ends with a slash, as only a folder's does. */
  readonly folder: boolean;
}

/** Undefined for what is no path. */
function segmentsOf(url: string): Path | undefined {
  if (!url.startsWith('/') || url.length > maxUrlLength) return undefined;
  const [path = ''] = url.split('?', 1);
  try {
    const names = path.split('/').filter((name) => name !== '');
    return { names: names.map(decodeURIComponent), folder: path.endsWith('/') };
  } catch {
    return undefined;
  }
}

async function find(path: Path, guest: MetadataGuest): Promise<string | Uint8Array | undefined> {
  const [version, ...rest] = path.names;
  if (version === undefined) return versions.join('\n');
  if (!versions.includes(version)) return undefined;
  if (rest.length === 1 && rest[0] === 'user-data') return path.folder ? undefined : guest.userData();
  const found = guest.at(rest);
  if (found === undefined || (path.folder && !found.isFolder)) return undefined;
  return rest.length === 0 && guest.hasUserData ? `${found.text}\nuser-data` : found.text;
}
