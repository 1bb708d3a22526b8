import fc from 'fast-check';
import { expect, test } from 'vitest';
import { indexSchema, type SchemaEntity } from './introspect.ts';

const schema: SchemaEntity[] = [
  { name: 'add', 'meta-type': 'command', 'arg-type': '1', 'ret-type': '[2]' },
  { name: 'GONE', 'meta-type': 'event', 'arg-type': '2' },
  {
    name: '1',
    'meta-type': 'object',
    members: [{ name: 'driver', type: '3' }],
    tag: 'driver',
    variants: [
      { case: 'file', type: '4' },
      { case: 'raw', type: '0' },
    ],
  },
  { name: '0', 'meta-type': 'object', members: [] },
  { name: '[2]', 'meta-type': 'array', 'element-type': '2' },
  { name: '2', 'meta-type': 'object', members: [{ name: 'inner', type: '5' }] },
  { name: '3', 'meta-type': 'enum', values: ['file', 'raw'] },
  { name: '4', 'meta-type': 'object', members: [{ name: 'aio', type: '6' }] },
  { name: '5', 'meta-type': 'alternate', members: [{ type: 'str' }, { type: '2' }] },
  { name: '6', 'meta-type': 'enum', values: ['threads', 'io_uring'] },
  { name: 'str', 'meta-type': 'builtin', 'json-type': 'string' },
];

test.each([
  'add',
  'GONE',
  'add/arguments/driver',
  'add/arguments/driver/raw',
  'add/arguments/aio/io_uring',
  'add/returns/inner',
  'add/returns/inner/inner/inner',
  'GONE/data/inner',
])('a schema has %s', (path) => {
  expect(indexSchema(schema)(path)).toBe(true);
});

test.each([
  '',
  'no',
  '1',
  'str',
  'add/arguments/no',
  'add/arguments/aio/native',
  'add/arguments/aio/io_uring/more',
  'add/returns/driver',
  'GONE/returns/inner',
])('a schema has no %s', (path) => {
  expect(indexSchema(schema)(path)).toBe(false);
});

test('a schema that makes no sense is asked without harm', () => {
  const type = fc.constantFrom('a', 'b', 'c', '[a]');
  const metaType = fc.constantFrom('command', 'event', 'object', 'array', 'alternate', 'enum', 'x');
  const nonsense = fc.record({
    name: type,
    'meta-type': metaType,
    'arg-type': type,
    'element-type': type,
    members: fc.oneof(fc.jsonValue(), fc.array(fc.record({ name: type, type }))),
    variants: fc.oneof(fc.jsonValue(), fc.array(fc.record({ case: type, type }))),
    values: fc.jsonValue(),
  });
  fc.assert(
    fc.property(fc.array(nonsense), fc.array(type, { maxLength: 6 }), (entities, path) => {
      expect(typeof indexSchema(entities)(['a', 'arguments', ...path].join('/'))).toBe('boolean');
    }),
  );
});
