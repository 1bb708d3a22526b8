/** Field types that several resources share: names, labels, times, revisions, and the head of every record. */
import * as z from 'zod';

/** Letters, digits and inner hyphens, as a DNS label (RFC 1123), so that a guest's name can be its host name. */
export const nameSchema = z
  .string()
  .min(1)
  .max(63)
  .regex(
    /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/,
    'must be lower-case letters, digits and inner hyphens (a DNS label)',
  )
  .describe('Unique within the project; a DNS label of at most 63 characters.');

/** A ULID: 26 characters of Crockford's base 32, sortable by creation time. */
export const idSchema = z
  .string()
  .regex(/^[0-9A-HJKMNP-TV-Z]{26}$/, 'must be a ULID')
  .describe('Stable identity (ULID), sortable by creation time.');

/** How a path names a resource: by id or by name. */
export const referenceSchema = z.string().min(1).max(63).describe('The name or the id.');

export const timeSchema = z.iso.datetime().describe('RFC 3339, UTC.');

export const labelsSchema = z
  .record(
    z
      .string()
      .regex(
        /^[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$/,
        'must be letters, digits and ._/- (63 at most)',
      ),
    z.string().max(255),
  )
  .refine((labels) => Object.keys(labels).length <= 64, 'at most 64 labels')
  .describe('Free key/value pairs for finding and grouping; 64 at most.');

export const recordHead = {
  id: idSchema,
  name: nameSchema,
  project: nameSchema,
  labels: labelsSchema,
  revision: z.int().min(0).describe('The store revision of the last change; sent as ETag.'),
  createdAt: timeSchema,
};

/** A page of a list. `next` is the cursor for the following page; absent on the last. */
export function pageOf<T extends z.ZodType>(item: T, id: string) {
  return z
    .object({
      items: z.array(item),
      next: z.string().optional().describe('Pass as `cursor` for the next page.'),
    })
    .meta({ id });
}

export const pageQuery = {
  cursor: z.string().max(64).optional().describe('The `next` of the page before.'),
  limit: z.coerce.number().int().min(1).max(1000).default(100).describe('Items on a page.'),
  fields: z
    .string()
    .max(1000)
    .optional()
    .describe('Only these fields of each item, comma separated: `name,status.state`.'),
};
