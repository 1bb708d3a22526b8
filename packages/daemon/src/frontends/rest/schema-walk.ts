/**
 * Reads zod schemas as data: which fields there are at a path, and which values a field takes, in words.
 * Knows the schema kinds that the contract uses; any other is `undefined` or said without limits.
 */
import * as z from 'zod';

export type Path = readonly PropertyKey[];

/** The schema below what only adds a default, optionality or null. */
export function bare(schema: z.ZodType): z.ZodType {
  let current = schema;
  while (
    current instanceof z.ZodOptional ||
    current instanceof z.ZodDefault ||
    current instanceof z.ZodNullable ||
    current instanceof z.ZodReadonly
  ) {
    current = current.unwrap() as z.ZodType;
  }
  return current;
}

/** The schema of the value at `path`, or undefined where the contract has none. */
export function schemaAt(root: z.ZodType, path: Path): z.ZodType | undefined {
  let current = bare(root);
  for (const step of path) {
    let next: z.ZodType | undefined;
    if (current instanceof z.ZodObject) {
      const shape: Readonly<Record<string, z.ZodType>> = current.shape;
      next = Object.hasOwn(shape, step) ? shape[String(step)] : undefined;
    } else if (current instanceof z.ZodArray) next = current.element as z.ZodType;
    else if (current instanceof z.ZodRecord) next = current.valueType as z.ZodType;
    if (next === undefined) return undefined;
    current = bare(next);
  }
  return current;
}

/** Names of the fields of the object at `path`; none where it is not an object. */
export function fieldsAt(root: z.ZodType, path: Path): string[] {
  const schema = schemaAt(root, path);
  return schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
}

/** Every field of nested objects as a dotted path, outer ones first; lists and free keys are not entered. */
export function fieldPaths(root: z.ZodType): string[] {
  const found: string[] = [];
  let level: { schema: z.ZodType; prefix: string }[] = [{ schema: root, prefix: '' }];
  while (level.length > 0) {
    const below: typeof level = [];
    for (const { schema, prefix } of level) {
      const object = bare(schema);
      if (!(object instanceof z.ZodObject)) continue;
      for (const [name, field] of Object.entries<z.ZodType>(object.shape)) {
        found.push(prefix + name);
        below.push({ schema: field, prefix: `${prefix}${name}.` });
      }
    }
    level = below;
  }
  return found;
}

function range(min: number | null | undefined, max: number | null | undefined, unit: string): string {
  const low = min === null || min === undefined || min <= Number.MIN_SAFE_INTEGER ? undefined : min;
  const high = max === null || max === undefined || max >= Number.MAX_SAFE_INTEGER ? undefined : max;
  const tail = unit === '' ? '' : ` ${unit}`;
  if (low !== undefined && high !== undefined) return ` from ${low} to ${high}${tail}`;
  if (low !== undefined) return ` of at least ${low}${tail}`;
  return high === undefined ? '' : ` of at most ${high}${tail}`;
}

/** The sizes that length checks leave open; read from the checks, since zod has no getter on lists. */
function sizeOf(schema: z.ZodType, unit: string): string {
  let low: number | undefined;
  let high: number | undefined;
  for (const check of schema._zod.def.checks ?? []) {
    const { def } = check._zod;
    if (def.check === 'min_length') low = (def as z.core.$ZodCheckMinLengthDef).minimum;
    if (def.check === 'max_length') high = (def as z.core.$ZodCheckMaxLengthDef).maximum;
  }
  if (low !== undefined && high !== undefined) return ` of ${low} to ${high} ${unit}`;
  return range(low, high, unit);
}

/** What a value at this schema must be, with its limits: `a whole number from 1 to 4096`. */
export function expectation(schema: z.ZodType | undefined): string | undefined {
  const plain = schema === undefined ? undefined : bare(schema);
  if (plain instanceof z.ZodNumber) {
    return `a ${plain.isInt ? 'whole ' : ''}number${range(plain.minValue, plain.maxValue, '')}`;
  }
  if (plain instanceof z.ZodEnum) return `one of ${plain.options.join(', ')}`;
  if (plain instanceof z.ZodLiteral)
    return [...plain.values].map((value) => JSON.stringify(value)).join(' or ');
  if (plain instanceof z.ZodBoolean) return 'true or false';
  if (plain instanceof z.ZodPipe) return 'true or false';
  if (plain instanceof z.ZodString || plain instanceof z.ZodBase64) {
    return `a text${sizeOf(plain, 'characters')}`;
  }
  if (plain instanceof z.ZodArray) return `a list${sizeOf(plain, 'items')}`;
  if (plain instanceof z.ZodObject || plain instanceof z.ZodRecord) return 'an object';
  return undefined;
}
