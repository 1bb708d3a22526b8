// docs/reference/states.md shows which action is allowed in which state: the same table as the code's.
import { can, type InstanceAction, instanceCan, instanceStates } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { markdownTables } from './markdown.ts';
import { readText } from './tree.ts';

const tables = markdownTables(readText('docs/reference/states.md'));

describe('docs/reference/states.md', () => {
  it('describes every state', () => {
    const states = tables.find(({ head }) => head[0] === 'state')?.rows.map(([state]) => state);
    expect(states).toEqual(instanceStates.map((state) => `\`${state}\``));
  });

  it('shows which action is allowed in which state, as the code has it', () => {
    // Object.keys loses the key type; the table is a literal.
    const actions = Object.keys(instanceCan) as InstanceAction[];
    const shown = tables.find(({ head }) => head[0] === 'action');
    expect(shown?.head.slice(1)).toEqual(instanceStates.map((state) => `\`${state}\``));
    expect(shown?.rows).toEqual(
      actions.map((action) => [
        `\`${action}\``,
        ...instanceStates.map((state) => (can(action, state) ? 'yes' : '–')),
      ]),
    );
  });
});
