import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { filterTable } from './firewall-filter.ts';
import { guardTable } from './firewall-guard.ts';
import { names } from './firewall-plan.fixture.ts';
import { plans } from './firewall-plans.fixture.ts';
import { viewOf } from './firewall-view.ts';
import { type Model, modelText, runInModel } from './nft-table.fixture.ts';
import { changeScript, type NftTable, replaceScript } from './nft-table.ts';

const table = (given: Partial<NftTable>): NftTable => ({
  family: 'inet',
  name: 't',
  counters: new Set(),
  sets: new Map(),
  chains: new Map(),
  ...given,
});

describe('the change from one table to another', () => {
  it('is nothing when they are the same', () => {
    const one = table({ chains: new Map([['c', { rules: ['drop'] }]]) });
    expect(changeScript(one, structuredClone(one))).toBe('');
  });

  it('is only what differs', () => {
    const elements = (...keys: string[]): Map<string, string> => new Map(keys.map((key) => [key, '']));
    const set = { kind: 'set', definition: 'type ipv4_addr;' } as const;
    const chains = new Map([['c', { rules: ['drop'] }]]);
    const one = table({
      chains,
      sets: new Map([['s', { ...set, elements: elements('10.0.0.1', '10.0.0.2') }]]),
    });
    const other = table({
      chains,
      sets: new Map([['s', { ...set, elements: elements('10.0.0.2', '10.0.0.3') }]]),
    });
    expect(changeScript(one, other)).toBe(
      'delete element inet t s { 10.0.0.1 }\nadd element inet t s { 10.0.0.3 }\n',
    );
  });

  it('is the whole table when a name is of another make', () => {
    const chain = (hook: string): NftTable => table({ chains: new Map([['c', { hook, rules: [] }]]) });
    expect(
      changeScript(chain('type filter hook input priority 0;'), chain('type filter hook input priority 1;')),
    ).toContain('delete table inet t');
  });

  it('leads step by step to what the last plan alone gives, and uses nothing that is not there', () => {
    fc.assert(
      fc.property(fc.array(plans, { minLength: 2, maxLength: 5 }), (steps) => {
        const changed: Model = new Map();
        let before: readonly NftTable[] = [];
        let view: ReturnType<typeof viewOf> | undefined;
        for (const plan of steps) {
          view = viewOf(plan, [], names, view);
          const now = [filterTable('w', view), guardTable('w', view)];
          const scripts = now.map((each, index) => {
            const old = before[index];
            return old === undefined ? replaceScript(each) : changeScript(old, each);
          });
          runInModel(changed, scripts.join(''));
          const fresh: Model = new Map();
          const alone = viewOf(plan, [], names);
          runInModel(fresh, replaceScript(filterTable('w', alone)) + replaceScript(guardTable('w', alone)));
          expect(modelText(changed)).toBe(modelText(fresh));
          before = now;
        }
      }),
      { numRuns: 60 },
    );
  });
});
