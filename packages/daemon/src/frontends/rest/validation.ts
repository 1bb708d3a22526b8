/**
 * Checks what a client sent against the contract's schemas, and says in one sentence what is wrong with it: where, what
 * is allowed there, what came instead, and for an unknown field the known one that it was probably meant to be.
 */
import { nearest, WirtError } from '@wirt/api';
import type * as z from 'zod';
import { expectation, fieldPaths, fieldsAt, type Path, schemaAt } from './schema-walk.ts';

export type Part = 'path' | 'query' | 'body';

const maxIssuesTold = 20;
const maxValueChars = 60;

interface Finding {
  readonly code: 'request.invalid' | 'request.unknown_field';
  readonly path: string;
  readonly sentence: string;
  readonly hint?: string;
}

/** Gives the decoded value, with defaults. Throws `request.invalid` or `request.unknown_field`. */
export function validate<S extends z.ZodType>(schema: S, value: unknown, part: Part): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const found = result.error.issues.flatMap((issue) => explain(schema, issue, value, part));
  // One value can break several rules; the first is the one to mend.
  const findings = found.filter((each, at) => found.findIndex((other) => other.path === each.path) === at);
  const first = findings.find((finding) => finding.code === 'request.unknown_field') ?? findings[0];
  if (first === undefined) throw new WirtError('request.invalid', `The ${part} is not valid.`);
  const more = findings.length > 1 ? ` (${findings.length} mistakes in all; see details)` : '';
  throw new WirtError(first.code, first.sentence + more, {
    ...(first.hint === undefined ? {} : { hint: first.hint }),
    details: {
      in: part,
      issues: findings.slice(0, maxIssuesTold).map(({ path, sentence }) => ({ path, message: sentence })),
    },
  });
}

function dotted(path: Path): string {
  return path
    .map((step, index) =>
      typeof step === 'number' ? `[${step}]` : `${index === 0 ? '' : '.'}${String(step)}`,
    )
    .join('');
}

/** The value at `path` as it was sent: zod's own is coerced already (`limit=abc` would be shown as NaN). */
function sentAt(value: unknown, path: Path): unknown {
  let current = value;
  for (const step of path) {
    if (typeof current !== 'object' || current === null) return undefined;
    current = (current as Record<PropertyKey, unknown>)[step];
  }
  return current;
}

function explain(schema: z.ZodType, issue: z.core.$ZodIssue, value: unknown, part: Part): Finding[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => unknownField(schema, issue.path, key, part));
  }
  const path = dotted(issue.path);
  const subject = path === '' ? `The ${part}` : path;
  if (issue.code === 'invalid_key') {
    const rule = issue.issues[0]?.message ?? 'is not allowed';
    return [{ code: 'request.invalid', path, sentence: `The key ${subject} ${rule}.` }];
  }
  const allowed = rule(schema, issue);
  const sent = sentAt(value, issue.path);
  const came = sent === undefined ? ', and is missing' : `, and is ${shown(sent)}`;
  return [{ code: 'request.invalid', path, sentence: `${subject} must be ${allowed}${came}.` }];
}

/** What is allowed at the issue's path: the contract's own words for a format, the schema's limits otherwise. */
function rule(schema: z.ZodType, issue: z.core.$ZodIssue): string {
  const expected = expectation(schemaAt(schema, issue.path));
  switch (issue.code) {
    case 'invalid_format':
      return issue.message.startsWith('must be ') ? issue.message.slice(8) : (issue.format ?? 'valid');
    case 'custom':
      return issue.message;
    case 'invalid_type':
    case 'too_small':
    case 'too_big':
    case 'invalid_value':
      return expected ?? issue.message;
    default:
      return expected ?? issue.message;
  }
}

function shown(value: unknown): string {
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'object' && value !== null) return 'an object';
  if (typeof value === 'string' && value.length > maxValueChars) {
    return `${JSON.stringify(value.slice(0, maxValueChars))}… (${value.length} characters)`;
  }
  return typeof value === 'string' ? JSON.stringify(value) : String(value);
}

/** A word from a client, made fit for a sentence. */
function quoted(word: string): string {
  const cut = word.length > maxValueChars ? `${word.slice(0, maxValueChars)}…` : word;
  return /^[\w.[\]-]+…?$/.test(cut) ? cut : JSON.stringify(cut);
}

function unknownField(schema: z.ZodType, at: Path, key: string, part: Part): Finding {
  const siblings = fieldsAt(schema, at);
  const path = dotted([...at, key]);
  const noun = part === 'query' ? 'parameter' : 'field';
  const near = nearest(key, siblings);
  // The right word in the wrong place (memoryMib outside spec) beats a similar word here.
  const elsewhere = fieldPaths(schema).find((known) => known.split('.').at(-1) === key);
  const meant = elsewhere ?? (near === undefined ? undefined : dotted([...at, near]));
  const question = meant === undefined ? '.' : `: did you mean ${meant}?`;
  const place = at.length === 0 ? `This ${part}` : dotted(at);
  return {
    code: 'request.unknown_field',
    path,
    sentence: `There is no ${noun} ${quoted(path)}${question}`,
    hint:
      siblings.length === 0
        ? `${place} takes no ${noun}s.`
        : `${place} takes the ${noun}s ${siblings.join(', ')}.`,
  };
}
