// Writes openapi/wirt.json from the route table of packages/api. With --check it writes nothing and fails when the
// committed document is another than the one it would write.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import {
  type ErrorCode,
  errorCatalogue,
  instanceCan,
  problemSchema,
  type Route,
  routes,
  takesIdempotencyKey,
  takesIfMatch,
} from '@wirt/api';
import { createSchemaBook, type JsonObject, type SchemaBook } from './openapi-schemas.ts';

const target = join(import.meta.dirname, '../openapi/wirt.json');

const tagWords: Record<Route['tag'], string> = {
  instance: 'Virtual machines: what they are, and their life.',
  guest: 'What happens inside a guest: its console, its log, programs and files.',
  snapshot: 'All disks of an instance as they were at one moment.',
  volume: 'Disks in pools: made, cloned, grown, attached.',
  pool: 'Where volumes lie.',
  network: 'Networks, who is on them, and who may reach whom.',
  transfer: 'Machines from other hypervisors, and the way back to them.',
  image: 'What instances are started from.',
  policy: 'Limits that instances share.',
  usage: 'What instances use, now and before.',
  operation: 'Work that takes longer than a moment.',
  event: 'Every change of a record.',
  host: 'The machine below, and the daemon.',
};

/** Errors that every route may answer. */
const everywhere: ErrorCode[] = [
  'request.invalid',
  'request.unknown_field',
  'store.failed',
  'daemon.stopping',
  'internal',
];

/** The document, from the contract alone. */
export function buildDocument(): JsonObject {
  const book = createSchemaBook();
  const problem = book.add(problemSchema, 'output');
  const paths: Record<string, JsonObject> = {};
  for (const [key, route] of Object.entries<Route>(routes)) {
    const [method = '', path = ''] = key.split(' ');
    paths[path] = { ...paths[path], [method.toLowerCase()]: buildOperation(book, problem, method, route) };
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'Wirt',
      version: 'v1',
      summary: 'An open virtualization platform for KVM',
      description:
        'Requests are authorised by the Unix socket that they come through. Times are RFC 3339 in UTC, sizes have their ' +
        'unit in their name. Errors are `application/problem+json` with a stable `code`.',
      license: { name: 'Apache 2.0', identifier: 'Apache-2.0' },
    },
    servers: [
      { url: 'http://localhost', description: 'The Unix socket of wirtd; the host name is not looked at.' },
    ],
    security: [],
    tags: Object.entries(tagWords).map(([name, description]) => ({ name, description })),
    paths,
    components: { schemas: book.components() },
  };
}

function buildOperation(book: SchemaBook, problem: JsonObject, method: string, route: Route): JsonObject {
  const body = requestBody(book, method, route);
  return {
    operationId: route.operationId,
    tags: [route.tag],
    summary: route.summary,
    ...describe(route),
    parameters: [
      ...parameters(book, route.params, 'path'),
      ...parameters(book, route.query, 'query'),
      ...headers(method, route),
    ],
    ...(body === undefined ? {} : { requestBody: body }),
    responses: { ...success(book, route), ...failures(problem, body !== undefined, method, route) },
  };
}

function describe(route: Route): JsonObject {
  const states = route.can && `Allowed while the instance is ${instanceCan[route.can].join(', ')}.`;
  const words = [route.description, states].filter((each) => each !== undefined);
  return {
    ...(words.length > 0 ? { description: words.join('\n\n') } : {}),
    ...(route.can === undefined ? {} : { 'x-wirt-states': [...instanceCan[route.can]] }),
  };
}

/** One parameter for each field of the schema. */
function parameters(book: SchemaBook, schema: Route['params'], where: 'path' | 'query'): JsonObject[] {
  if (schema === undefined) return [];
  const { properties = {}, required = [] } = book.add(schema, 'input') as {
    properties?: Record<string, JsonObject>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, { description, ...rest }]) => ({
    name,
    in: where,
    required: where === 'path' || required.includes(name),
    ...(description === undefined ? {} : { description }),
    schema: rest,
  }));
}

function headers(method: string, route: Route): JsonObject[] {
  const found: JsonObject[] = [];
  if (takesIdempotencyKey(method, route)) {
    const description =
      'A repeated request with the same key is answered with the operation of the first one.';
    const schema = { type: 'string', minLength: 1, maxLength: 255 };
    found.push({ name: 'Idempotency-Key', in: 'header', required: false, description, schema });
  }
  if (takesIfMatch(method, route)) {
    const description = 'The ETag of the revision that the change is meant for.';
    found.push({ name: 'If-Match', in: 'header', required: false, description, schema: { type: 'string' } });
  }
  if (route.kind === 'events') {
    const description = 'As `since`; event sources send it by themselves.';
    found.push({
      name: 'Last-Event-ID',
      in: 'header',
      required: false,
      description,
      schema: { type: 'string' },
    });
  }
  return found;
}

function requestBody(book: SchemaBook, method: string, route: Route): JsonObject | undefined {
  if (route.body !== undefined) {
    // A body whose fields all have defaults may be left out.
    const required = !route.body.safeParse({}).success;
    return { required, content: { 'application/json': { schema: book.add(route.body, 'input') } } };
  }
  if (route.kind !== 'bytes' || method === 'GET') return undefined;
  return { required: true, content: { 'application/octet-stream': { schema: {} } } };
}

function success(book: SchemaBook, route: Route): JsonObject {
  const status = route.status ?? 200;
  if (status === 204) return { '204': { description: 'Done.' } };
  switch (route.kind ?? 'json') {
    case 'websocket':
      return { '101': { description: 'The connection is a WebSocket from here on.' } };
    case 'bytes':
      return {
        '200': { description: 'The bytes.', content: { 'application/octet-stream': { schema: {} } } },
      };
    case 'events': {
      const schema = {
        type: 'string',
        contentMediaType: 'application/json',
        contentSchema: book.add(route.response, 'output'),
      };
      return {
        '200': {
          description: 'The stream; `data` of each event is JSON.',
          content: { 'text/event-stream': { schema } },
        },
      };
    }
    case 'json': {
      const description = status === 202 ? 'The operation, begun or ended.' : 'The answer.';
      return {
        [status]: {
          description,
          content: { 'application/json': { schema: book.add(route.response, 'output') } },
        },
      };
    }
  }
}

/** One response for each status, naming the codes that it may carry. */
function failures(problem: JsonObject, hasBody: boolean, method: string, route: Route): JsonObject {
  const codes = new Set<ErrorCode>([
    ...route.errors,
    ...everywhere,
    ...(hasBody ? ['request.too_large' as const] : []),
    ...(takesIfMatch(method, route) ? ['request.revision_mismatch' as const] : []),
    ...(takesIdempotencyKey(method, route) ? ['request.idempotency_conflict' as const] : []),
  ]);
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of codes) {
    const { status } = errorCatalogue[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  const sorted = [...byStatus].sort(([a], [b]) => a - b);
  return Object.fromEntries(
    sorted.map(([status, list]) => {
      const description = list.map((code) => `\`${code}\`: ${errorCatalogue[code].title}`).join('\n');
      return [String(status), { description, content: { 'application/problem+json': { schema: problem } } }];
    }),
  );
}

function main(): void {
  const text = `${JSON.stringify(buildDocument(), null, 2)}\n`;
  const committed = existsSync(target) ? readFileSync(target, 'utf8') : '';
  if (process.argv.includes('--check')) {
    if (text === committed) return;
    console.error('openapi/wirt.json is not what the contract says. Run: npm run openapi');
    process.exitCode = 1;
    return;
  }
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, text);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) main();
