/** Errors on the REST door: every one leaves as `application/problem+json`, whoever threw it. */
import { nearest, type Problem, routes, toProblem, WirtError } from '@wirt/api';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import type { RestLogger } from './door.ts';

export const problemType = 'application/problem+json; charset=utf-8';

/** Turns what the HTTP framework refuses (bad URL, media type, malformed HTTP) into the catalogue's words. */
export function asWirtError(error: unknown): unknown {
  if (error instanceof WirtError || !(error instanceof Error)) return error;
  const { code, statusCode } = error as Partial<FastifyError>;
  if (code === undefined || statusCode === undefined || statusCode >= 500) return error;
  if (!code.startsWith('FST_')) return error;
  if (statusCode === 413)
    return new WirtError('request.too_large', 'The body is larger than this route takes.');
  return new WirtError('request.invalid', 'The request is not well-formed.', { cause: error });
}

/** Writes the problem, and logs what is Wirt's own fault. */
export function answerError(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  log: RestLogger,
): void {
  const problem = toProblem(asWirtError(error));
  const fields = { method: request.method, path: request.url.slice(0, 200), code: problem.code };
  const gone = request.raw.socket.destroyed;
  if (gone) log.debug('rest.client_gone', fields);
  else if (problem.code === 'internal') log.error('rest.defect', { ...fields, error });
  else if (problem.status >= 500)
    log.warn('rest.failed', { ...fields, detail: problem.detail, cause: problem.cause });
  // A body that was not read to its end would otherwise be waited for, up to the last byte.
  if (!request.raw.complete) reply.header('connection', 'close');
  if (problem.status === 503) reply.header('retry-after', '1');
  reply.code(problem.status).type(problemType).send(JSON.stringify(problem));
}

/** For bytes that are no HTTP at all: a whole answer by hand, since no request object exists. */
export function rawProblem(detail: string): string {
  const body: Problem = toProblem(new WirtError('request.invalid', detail));
  const text = JSON.stringify(body);
  const head = [
    `HTTP/1.1 ${body.status} Bad Request`,
    `content-type: ${problemType}`,
    `content-length: ${Buffer.byteLength(text)}`,
    'connection: close',
  ];
  return `${head.join('\r\n')}\r\n\r\n${text}`;
}

const patterns = Object.keys(routes).map((key) => {
  const [method = '', path = ''] = key.split(' ');
  return {
    method,
    path,
    pattern: new RegExp(`^${path.replace(/\{\w+\}/g, '[^/]+').replaceAll('.', '\\.')}$`),
  };
});

/** `request.not_found`, with the methods that the path takes, or the route nearest to it. */
export function routeNotFound(method: string, url: string): WirtError {
  const path = url.replace(/\?.*$/, '');
  const shown = path.length > 120 ? `${path.slice(0, 120)}…` : path;
  const methods = patterns.filter((each) => each.pattern.test(path)).map((each) => each.method);
  if (methods.length > 0) {
    const hint = `${shown} takes ${methods.join(', ')}.`;
    return new WirtError('request.not_found', `There is no route ${method} ${shown}.`, { hint });
  }
  const near = nearest(
    path,
    patterns.map((each) => each.path),
  );
  const hint =
    near === undefined
      ? 'GET /v1/openapi.json lists every route.'
      : `The nearest path is ${near}; GET /v1/openapi.json lists every route.`;
  return new WirtError('request.not_found', `There is no route ${method} ${shown}.`, { hint });
}
