/** `fields=name,status.state`: only these fields of each item of a list. */
import { nearest, WirtError } from '@wirt/api';
import type * as z from 'zod';
import { fieldPaths, schemaAt } from './schema-walk.ts';

export type Projection = (item: unknown) => Record<string, unknown>;

/** Parses the parameter against the item's schema. Throws `request.unknown_field`. */
export function projection(fields: string, item: z.ZodType): Projection {
  const names = fields.split(',').map((name) => name.trim());
  const paths = names.filter((name) => name !== '').map((name) => known(name, item));
  if (paths.length === 0) throw new WirtError('request.invalid', 'fields must name at least one field.');
  return (value) => {
    const result: Record<string, unknown> = {};
    for (const path of paths) copy(value, result, path);
    return result;
  };
}

function known(name: string, item: z.ZodType): string[] {
  const path = name.split('.');
  if (schemaAt(item, path) !== undefined && !path.includes('__proto__')) return path;
  const every = fieldPaths(item);
  const meant = every.find((each) => each.split('.').at(-1) === name) ?? nearest(name, every);
  const question = meant === undefined ? '.' : `: did you mean ${meant}?`;
  throw new WirtError(
    'request.unknown_field',
    `fields names ${JSON.stringify(name)}, which is no field${question}`,
  );
}

function copy(from: unknown, to: Record<string, unknown>, path: readonly string[]): void {
  const [step, ...rest] = path;
  if (step === undefined || typeof from !== 'object' || from === null || !Object.hasOwn(from, step)) return;
  const value = (from as Record<string, unknown>)[step];
  if (rest.length === 0) {
    to[step] = value;
    return;
  }
  const below = to[step];
  // A whole object that was named before (`status,status.state`) already has what is below it.
  if (below === value) return;
  const target = typeof below === 'object' && below !== null ? (below as Record<string, unknown>) : {};
  to[step] = target;
  copy(value, target, rest);
}
