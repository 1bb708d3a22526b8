import { describe, expect, it } from 'vitest';
import { findShadows } from './firewall-shadows.ts';

const chain = (table: string, name: string, given: object = {}, family = 'inet') => ({
  chain: { family, table, name, ...given },
});
const rule = (table: string, name: string, expr: object[], family = 'inet') => ({
  rule: { family, table, chain: name, expr },
});
const from = (right: unknown) => ({ match: { op: '==', left: { meta: { key: 'iifname' } }, right } });
const find = (...nftables: object[]) => findShadows(JSON.stringify({ nftables }), ['wb1', 'wb2'], 'wirt_t');

describe('shadows', () => {
  it('are none where nobody filters, or we do, or there are no networks', () => {
    expect(find()).toEqual([]);
    expect(find(chain('wirt_t', 'input', { hook: 'input', policy: 'drop' }))).toEqual([]);
    expect(find(chain('nat', 'post', { hook: 'postrouting', policy: 'drop' }))).toEqual([]);
    const drops = { nftables: [chain('x', 'f', { hook: 'forward', policy: 'drop' })] };
    expect(findShadows(JSON.stringify(drops), [], 'wirt_t')).toEqual([]);
  });

  it('are Docker’s policy, until DOCKER-USER has a rule for our bridges', () => {
    const docker = [
      chain('filter', 'FORWARD', { hook: 'forward', policy: 'drop' }, 'ip'),
      rule('filter', 'FORWARD', [{ counter: {} }, { jump: { target: 'DOCKER-USER' } }], 'ip'),
      chain('filter', 'DOCKER-USER', {}, 'ip'),
    ];
    const [shadow] = find(...docker);
    expect(shadow?.why).toBe(
      'Chain FORWARD of table ip filter (hook forward) drops by its policy, and has no rule for wb1, wb2.',
    );
    expect(shadow?.hint).toContain('iptables -I DOCKER-USER -i wb1 -j ACCEPT');
    const accept = (right: unknown): object =>
      rule('filter', 'DOCKER-USER', [from(right), { accept: null }], 'ip');
    expect(find(...docker, accept('wb1'))[0]?.why).toMatch(/for wb2\.$/);
    expect(find(...docker, accept('wb*'))).toEqual([]);
    expect(find(...docker, accept({ set: ['wb1', 'wb2'] }))).toEqual([]);
    expect(
      find(...docker, rule('filter', 'DOCKER-USER', [from('wb1'), { drop: null }], 'ip'))[0]?.why,
    ).toMatch(/wb1, wb2/);
  });

  it('are firewalld’s last rule, until the bridges have a zone', () => {
    const firewalld = [
      chain('firewalld', 'filter_INPUT', { hook: 'input', policy: 'accept' }),
      rule('firewalld', 'filter_INPUT', [from('lo'), { accept: null }]),
      rule('firewalld', 'filter_INPUT', [{ jump: { target: 'zones' } }]),
      rule('firewalld', 'filter_INPUT', [{ reject: { type: 'icmpx', expr: 'admin-prohibited' } }]),
      chain('firewalld', 'zones'),
    ];
    expect(find(...firewalld)[0]).toMatchObject({
      table: 'inet firewalld',
      hint: expect.stringContaining('firewall-cmd --zone=trusted --add-interface=wb1'),
    });
    const zones = ['wb1', 'wb2'].map((name) =>
      rule('firewalld', 'zones', [from(name), { goto: { target: 'trusted' } }]),
    );
    expect(find(...firewalld, ...zones)).toEqual([]);
  });

  it('are not rules that drop only some packets', () => {
    const some = rule('x', 'in', [from('eth0'), { drop: null }]);
    expect(find(chain('x', 'in', { hook: 'input', policy: 'accept' }), some)).toEqual([]);
  });
});
