/**
 * Answers "does this QEMU have ...?" from its reply to query-qmp-schema. QEMU gives types numbers for names, which
 * differ from build to build, so questions are paths by member names. Pure; takes any entities without throwing.
 * Source: QEMU docs/devel/qapi-code-gen ("Client JSON Protocol introspection").
 */

export interface SchemaEntity {
  name: string;
  'meta-type': string;
  [member: string]: unknown;
}

/**
 * Whether the schema has `path`: a command or event, then `arguments`, `returns` or `data`, then member names; an
 * enumeration's value may be the last. Arrays are passed through, all variants of a union are looked at. Examples:
 * `blockdev-add`, `blockdev-add/arguments/aio/io_uring`, `query-status/returns/status`, `SHUTDOWN/data/reason`.
 */
export type SchemaLookup = (path: string) => boolean;

export function indexSchema(entities: readonly SchemaEntity[]): SchemaLookup {
  const byName = new Map(entities.map((entity) => [entity.name, entity]));
  return (path) => {
    const [name = '', part, ...members] = path.split('/');
    const root = byName.get(name);
    if (root?.['meta-type'] !== 'command' && root?.['meta-type'] !== 'event') return false;
    if (part === undefined) return true;
    const rootType = root[part === 'returns' ? 'ret-type' : 'arg-type'];
    if (typeof rootType !== 'string') return false;
    let types = [rootType];
    for (const [i, member] of members.entries()) {
      const found = types.flatMap((type) => membersOf(byName, type)).filter(([key]) => key === member);
      if (found.length === 0) return false;
      types = found.flatMap(([, type]) => (type === undefined ? [] : [type]));
      if (types.length === 0 && i < members.length - 1) return false;
    }
    return true;
  };
}

type Member = readonly [name: string, type: string | undefined];

/** The members of a type (of the elements of an array, of all variants and alternatives), or an enumeration's values. */
function membersOf(byName: ReadonlyMap<string, SchemaEntity>, type: string): Member[] {
  const seen = new Set<string>();
  const walk = (name: unknown): Member[] => {
    const entity = typeof name === 'string' && !seen.has(name) ? byName.get(name) : undefined;
    if (!entity) return [];
    seen.add(entity.name);
    switch (entity['meta-type']) {
      case 'array':
        return walk(entity['element-type']);
      case 'alternate':
        return entries(entity['members']).flatMap((member) => walk(member['type']));
      case 'enum':
        return strings(entity['values']).map((value) => [value, undefined]);
      case 'object':
        return [
          ...entries(entity['members']).map(
            (member): Member => [
              String(member['name']),
              typeof member['type'] === 'string' ? member['type'] : undefined,
            ],
          ),
          ...entries(entity['variants']).flatMap((variant) => walk(variant['type'])),
        ];
      default:
        return [];
    }
  };
  return walk(type);
}

function entries(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.filter((entry) => typeof entry === 'object' && entry !== null) : [];
}

function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((entry) => typeof entry === 'string') : [];
}
