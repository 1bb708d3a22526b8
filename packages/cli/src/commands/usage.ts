/** `wirt top`: usage beside limits, live on a terminal and once elsewhere. The screen is in usage-screen, its table in usage-view. */
import { type Commands, type Context, command, type Outcome } from '../command.ts';
import { type PartKind, partKinds } from './usage-row.ts';
import { limitsFor, selected } from './usage-sample.ts';
import { type SortKey, sortKeys, staleNote, topLines } from './usage-view.ts';

/** Where nothing says how wide: room for all columns. */
const pipeColumns = 200;

interface TopValues {
  readonly sort: SortKey;
  readonly per: PartKind | undefined;
}

const top = command({
  arguments: {
    name: { summary: 'Only these instances', many: true, optional: true, complete: 'instance' },
  },
  options: {
    sort: { kind: 'choice', choices: sortKeys, default: 'cpu', short: 's', summary: 'What comes first' },
    per: { kind: 'choice', choices: partKinds, summary: 'A row for each part, with the limits in force' },
    once: { kind: 'flag', summary: 'Print the last sample and leave, as where there is no terminal' },
  },
  examples: [
    { line: 'wirt top', does: 'Every running guest, drawn again with every sample (5 s), until q.' },
    { line: 'wirt top web db --per disk --sort disk', does: 'Each disk of two guests, beside its limits.' },
    { line: 'wirt top --once -o json', does: 'The last sample as the API has it.' },
  ],
  notes: [
    'Keys: q leaves; c, m, d, n, a sort by cpu, memory, disk, network, name; the arrows scroll.',
    'CPU: cores used/limit. THR%: share of periods in which the limit held it back. STL%: time its vCPUs waited for a',
    'processor. PSI%: pressure, the share of 10 s in which somebody waited. MEMORY: used/ceiling. The rest: bytes a second.',
  ],
  async run(context, { args, options }): Promise<Outcome> {
    if (context.output === 'table' && !options.once && context.io.stdout.isTTY === true) {
      const { showTop } = await import('./usage-screen.ts');
      const wanted = await selected(context, args.name);
      if (wanted.failures.length > 0) return { failures: wanted.failures };
      await showTop(context, args.name, options);
      return {};
    }
    return once(context, args.name, options);
  },
});

async function once(context: Context, names: readonly string[], options: TopValues): Promise<Outcome> {
  const { items, failures } = await selected(context, names);
  const limits = context.output === 'table' ? await limitsFor(context, options.per) : undefined;
  const columns = context.io.stdout.columns ?? pipeColumns;
  const note = staleNote(items);
  const lines = (): string[] => [
    ...topLines(items, { ...options, columns, colour: false, ...(limits && { limits }) }),
    ...(note === undefined ? [] : [note]),
  ];
  const empty = failures.length > 0 ? [] : ['No guest runs.'];
  return {
    ...(items.length === 0 && names.length > 0
      ? {}
      : {
          view: {
            data: items,
            names: items.map(({ name }) => name),
            table: () => [{ kind: 'lines', lines: items.length === 0 ? empty : lines() }],
          },
        }),
    failures,
  };
}

export const commands: Commands = { top };
