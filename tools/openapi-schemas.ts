// Turns the contract's zod schemas into JSON Schema for an OpenAPI 3.1 document: schemas with an id become components,
// referred to by name. A schema that reads differently as input and as output (defaults make fields optional on the way
// in) gets a second component, `…Input`. Throws on a schema that JSON Schema cannot say.
import * as z from 'zod';

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

export interface SchemaBook {
  /** The schema, or a reference to its component. */
  add(schema: z.ZodType, io: 'input' | 'output'): JsonObject;
  /** All components so far, by name. */
  components(): JsonObject;
}

export function createSchemaBook(): SchemaBook {
  const known = new Map<string, JsonObject>();

  function nameFor(id: string, schema: JsonObject, io: 'input' | 'output'): string {
    const name = [id, `${id}Input`].find((each) => {
      const there = known.get(each);
      return there === undefined ? each === id || io === 'input' : isSame(there, schema);
    });
    if (name === undefined) throw new Error(`schema ${id} has two different forms as ${io}`);
    known.set(name, schema);
    return name;
  }

  function add(schema: z.ZodType, io: 'input' | 'output'): JsonObject {
    const converted = z.toJSONSchema(schema, { target: 'draft-2020-12', io, cycles: 'throw' }) as JsonObject;
    const { $schema: _schema, $defs: definitions = {}, ...body } = converted;
    const names = new Map<string, string>();
    // A definition is named once those that it refers to are, so that equal forms compare equal.
    const pending = new Map(Object.entries(definitions as JsonObject) as [string, JsonObject][]);
    while (pending.size > 0) {
      const ready = [...pending].find(([, each]) => references(each).every((id) => names.has(id)));
      if (!ready)
        throw new Error(`schemas refer to each other in a circle: ${[...pending.keys()].join(', ')}`);
      const [id, definition] = ready;
      pending.delete(id);
      names.set(id, nameFor(id, tidy(definition, names, io), io));
    }
    const tidied = tidy(body, names, io);
    const id = z.globalRegistry.get(schema)?.id;
    return id === undefined || '$ref' in tidied
      ? tidied
      : { $ref: `#/components/schemas/${nameFor(id, tidied, io)}` };
  }

  return { add, components: () => Object.fromEntries([...known].sort(([a], [b]) => (a < b ? -1 : 1))) };
}

const definitionReference = /^#\/\$defs\/(.+)$/;

function references(value: Json): string[] {
  if (Array.isArray(value)) return value.flatMap(references);
  if (value === null || typeof value !== 'object') return [];
  return Object.entries(value).flatMap(([key, each]) => {
    const id = key === '$ref' && typeof each === 'string' ? definitionReference.exec(each)?.[1] : undefined;
    return id === undefined ? references(each) : [id];
  });
}

/** Points references to components, and drops what only JSON Schema's own tools want. */
function tidy<T extends Json>(value: T, names: ReadonlyMap<string, string>, io: 'input' | 'output'): T {
  const walk = (each: Json, key?: string): Json => {
    if (Array.isArray(each)) return each.map((item) => walk(item));
    if (typeof each === 'string' && key === '$ref') {
      return each.replace(
        definitionReference,
        (_all, id: string) => `#/components/schemas/${names.get(id) ?? id}`,
      );
    }
    if (each === null || typeof each !== 'object') return each;
    const kept = Object.entries(each).filter(([name, item]) => !isNoise(each, name, item, io));
    return Object.fromEntries(kept.map(([name, item]) => [name, walk(item, name)]));
  };
  return walk(value) as T;
}

/**
 * `id` of zod's registry; the limits of a safe integer; the pattern of a known format, which only repeats it; and on the
 * way out the promise of no further fields, which a later version could not keep.
 */
function isNoise(owner: JsonObject, name: string, value: Json, io: 'input' | 'output'): boolean {
  switch (name) {
    case 'id':
      return typeof value === 'string';
    case 'pattern':
      return owner['format'] === 'date-time';
    case 'additionalProperties':
      return value === false && io === 'output';
    default:
      return typeof value === 'number' && Math.abs(value) === Number.MAX_SAFE_INTEGER;
  }
}

function isSame(a: Json, b: Json): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
