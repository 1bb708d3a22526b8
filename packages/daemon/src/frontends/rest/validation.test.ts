import { instanceCreateSchema, instanceListQuery, WirtError, waitQuery } from '@wirt/api';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalJson, idempotency } from './headers.ts';
import { projection } from './projection.ts';
import { fieldPaths, schemaAt } from './schema-walk.ts';
import { validate } from './validation.ts';

function refusal(run: () => unknown): WirtError {
  try {
    run();
  } catch (error) {
    if (error instanceof WirtError) return error;
    throw error;
  }
  throw new Error('It was accepted.');
}

describe('validate', () => {
  it('puts a mistyped field before a bad value, and counts the mistakes', () => {
    const error = refusal(() => validate(instanceCreateSchema, { nmae: 'x', spec: { cpus: 0 } }, 'body'));
    expect(error.code).toBe('request.unknown_field');
    expect(error.message).toBe('There is no field nmae: did you mean name? (2 mistakes in all; see details)');
    expect(error.details).toMatchObject({
      in: 'body',
      issues: [{ path: 'spec.cpus' }, { path: 'nmae' }],
    });
  });

  it('lists what there is when nothing is near', () => {
    const error = refusal(() => validate(waitQuery, { zebra: '1' }, 'query'));
    expect(error.message).toBe('There is no parameter zebra.');
    expect(error.hint).toBe('This query takes the parameters wait, waitSeconds.');
  });

  it.each<[unknown, string]>([
    [{ limit: 'abc' }, 'limit must be a whole number from 1 to 1000, and is "abc".'],
    [{ limit: '1001' }, 'limit must be a whole number from 1 to 1000, and is "1001".'],
    [
      { state: 'on' },
      'state must be one of stopped, starting, running, paused, stopping, unresponsive, crashed, removing, and is "on".',
    ],
  ])('says of the query %j what is allowed', (query, message) => {
    expect(refusal(() => validate(instanceListQuery, query, 'query')).message).toBe(message);
  });

  it.each<[string, unknown, string]>([
    ['nics[1].network', { nics: [{}, { network: 7 }] }, 'must be a text of 1 to 63 characters, and is 7.'],
    ['autostart', { autostart: 'yes' }, 'must be true or false, and is "yes".'],
    ['cpus', { cpus: 1.5 }, 'must be a whole number from 1 to 4096, and is 1.5.'],
    ['memoryMib', { memoryMib: null }, 'must be a whole number from 32 to 67108864, and is null.'],
    ['image', { image: {} }, 'must be a text of 1 to 63 characters, and is an object.'],
    [
      'cpuModel',
      { cpuModel: 'a,b' },
      'must be a CPU model’s name as in `qemu-system-x86_64 -cpu help`, with features after it such as ,+avx2,-svm, and is "a,b".',
    ],
  ])('says of spec.%s what is allowed', (path, spec, rest) => {
    const input = { spec: { image: 'm', ...(spec as object) } };
    expect(refusal(() => validate(instanceCreateSchema, input, 'body')).message).toBe(`spec.${path} ${rest}`);
  });

  it('cuts what it quotes', () => {
    const error = refusal(() => validate(instanceCreateSchema, { ['k'.repeat(9_000)]: 1 }, 'body'));
    expect(error.message.length).toBeLessThan(300);
  });

  it('never fails otherwise, whatever JSON it is given', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        try {
          validate(instanceCreateSchema, value, 'body');
        } catch (error) {
          expect(error).toBeInstanceOf(WirtError);
        }
      }),
    );
  });
});

describe('projection', () => {
  it('gives for any field of the schema that field and nothing beside it', () => {
    const item = instanceCreateSchema;
    fc.assert(
      fc.property(fc.subarray(fieldPaths(item), { minLength: 1 }), (paths) => {
        for (const path of paths) expect(schemaAt(item, path.split('.'))).toBeDefined();
        const value = { name: 'a', spec: { image: 'm', cpus: 2 }, start: true };
        const shown = projection(paths.join(','), item)(value);
        const tops = new Set(paths.map((path) => path.split('.')[0]));
        for (const key of Object.keys(shown)) expect(tops.has(key)).toBe(true);
      }),
    );
  });

  it('refuses what would reach behind the object', () => {
    expect(refusal(() => projection('__proto__.x', instanceCreateSchema)).code).toBe('request.unknown_field');
    expect(refusal(() => projection('labels.__proto__', instanceCreateSchema)).code).toBe(
      'request.unknown_field',
    );
    expect(refusal(() => projection(' , ', instanceCreateSchema)).code).toBe('request.invalid');
  });
});

describe('the fingerprint of a request', () => {
  it('is the same for equal values only', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
        const same = canonicalJson(a) === canonicalJson(b);
        expect(same).toBe(canonicalJson(JSON.parse(JSON.stringify(b))) === canonicalJson(a));
        expect(JSON.parse(canonicalJson(a))).toEqual(JSON.parse(JSON.stringify(a)));
      }),
    );
  });

  it('is not asked for on reads', () => {
    const route = { query: waitQuery } as unknown as Parameters<typeof idempotency>[1]['route'];
    expect(idempotency('k', { method: 'GET', path: '/', route, body: undefined })).toBeUndefined();
  });
});
