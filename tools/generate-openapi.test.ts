// The OpenAPI document says what the contract says: every route, every code, and nothing that leads nowhere.
import { errorCatalogue, type Route, routes } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { buildDocument } from './generate-openapi.ts';
import { createSchemaBook } from './openapi-schemas.ts';

const document = buildDocument();
const text = JSON.stringify(document);
const paths = document['paths'] as Record<string, Record<string, { operationId: string; responses: object }>>;

describe('the OpenAPI document', () => {
  it('has every route of the contract and no other', () => {
    const listed = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(listed.sort()).toEqual(Object.keys(routes).sort());
  });

  it('lists for each route the status of every error that the route declares', () => {
    for (const [key, route] of Object.entries<Route>(routes)) {
      const [method = '', path = ''] = key.split(' ');
      const responses = paths[path]?.[method.toLowerCase()]?.responses ?? {};
      for (const code of route.errors) {
        expect(JSON.stringify(Object.entries(responses)), key).toContain(`\`${code}\``);
        expect(Object.keys(responses), key).toContain(String(errorCatalogue[code].status));
      }
    }
  });

  it('refers only to components that it has', () => {
    const components = (document['components'] as { schemas: object }).schemas;
    const named = [...text.matchAll(/"#\/components\/schemas\/(\w+)"/g)].map(([, name]) => name);
    expect(named.length).toBeGreaterThan(20);
    for (const name of named) expect(Object.keys(components)).toContain(name);
    expect(text).not.toContain('$defs');
  });
});

describe('a schema book', () => {
  it('gives a schema with defaults a second form for the way in', () => {
    const schema = z.object({ cpus: z.int().default(1) }).meta({ id: 'PlantedSpec' });
    const book = createSchemaBook();
    expect(book.add(schema, 'output')).toEqual({ $ref: '#/components/schemas/PlantedSpec' });
    expect(book.add(schema, 'input')).toEqual({ $ref: '#/components/schemas/PlantedSpecInput' });
    expect(Object.keys(book.components())).toEqual(['PlantedSpec', 'PlantedSpecInput']);
  });

  it('refuses what JSON Schema cannot say', () => {
    expect(() => createSchemaBook().add(z.bigint(), 'output')).toThrow();
  });
});
