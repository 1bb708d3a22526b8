import { describe, expect, it } from 'vitest';
import { problem, runWirt, type Script, startScriptedDaemon } from '../scripted-daemon.ts';
import { aSecurityGroup } from '../scripted-records.ts';

const rules = '/v1/security-groups/web/rules';
const byId = `DELETE /v1/security-groups/${aSecurityGroup.id}/rules`;
const scripts: Record<string, Script> = {
  'GET /v1/security-groups': () => ({ json: { items: [aSecurityGroup] } }),
  'GET /v1/security-groups/web': () => ({ json: aSecurityGroup }),
  'POST /v1/security-groups': () => ({ status: 201, json: aSecurityGroup }),
  [`POST ${rules}`]: () => ({ json: aSecurityGroup }),
  [`${byId}/01KATESTTESTTESTTESTTESTR2`]: () => ({ json: aSecurityGroup }),
  [`${byId}/01KATESTTESTTESTTESTTESTR3`]: () => ({ json: aSecurityGroup }),
  'DELETE /v1/security-groups/web': () => problem(409, 'group.in_use', 'demo/nic0 has security group web.'),
};

async function ran(...argv: readonly string[]) {
  await using daemon = await startScriptedDaemon(scripts);
  const result = await runWirt(['security-group', ...argv], { daemon });
  return { ...result, lines: daemon.lines, bodies: daemon.asked.map(({ json }) => json) };
}

describe('wirt security-group', () => {
  it('ls shows how many rules each has, and how many cards have it', async () => {
    expect((await ran('ls')).stdout).toBe(
      ['NAME  RULES  CARDS  DESCRIPTION', 'web   3      2      Web servers', ''].join('\n'),
    );
  });

  it('show has every rule as allow takes it, and its id', async () => {
    const { stdout } = await ran('show', 'web');
    expect(stdout).toContain(
      [
        'Allowed, and replies to it',
        '  DIRECTION  TRAFFIC  OTHER END     RULE                        DESCRIPTION',
        '  egress     any      anybody       01KATESTTESTTESTTESTTESTR1  -',
        '  ingress    80/tcp   anybody       01KATESTTESTTESTTESTTESTR2  HTTP',
        '  ingress    22/tcp   192.0.2.0/24  01KATESTTESTTESTTESTTESTR3  -',
        '',
      ].join('\n'),
    );
  });

  it('create has the rules of the contract, or none', async () => {
    expect((await ran('create', 'web', '-d', 'Web servers', '-l', 'a=b')).bodies).toEqual([
      { name: 'web', labels: { a: 'b' }, description: 'Web servers' },
    ]);
    expect((await ran('create', 'web', '--no-egress')).bodies).toEqual([
      { name: 'web', labels: {}, rules: [] },
    ]);
  });

  it('rm is refused while somebody uses it', async () => {
    expect(await ran('rm', 'web')).toMatchObject({
      code: 4,
      stderr: 'wirt: demo/nic0 has security group web.\n',
    });
  });
});

describe('wirt security-group allow', () => {
  it('adds a rule for each traffic, from anybody', async () => {
    const { bodies, lines, stdout } = await ran('allow', 'web', '80', '53/udp', '-d', 'HTTP and names');
    const common = { direction: 'ingress', description: 'HTTP and names' };
    expect(lines).toEqual([`POST ${rules}`, `POST ${rules}`]);
    expect(bodies).toEqual([
      { ...common, protocol: 'tcp', fromPort: 80, toPort: 80 },
      { ...common, protocol: 'udp', fromPort: 53, toPort: 53 },
    ]);
    expect(stdout).toBe('web allows ingress 80/tcp from anybody\nweb allows ingress 53/udp from anybody\n');
  });

  it('takes a protocol before its ports, and never for all of them', async () => {
    const tcp = { direction: 'ingress', protocol: 'tcp' };
    expect((await ran('allow', 'web', 'tcp', '80', '443', '--from', 'group:db')).bodies).toEqual([
      { ...tcp, fromPort: 80, toPort: 80, group: 'db' },
      { ...tcp, fromPort: 443, toPort: 443, group: 'db' },
    ]);
  });

  it.each([
    [['--from', 'db'], { direction: 'ingress', group: 'db' }],
    [['--from', '192.0.2.7'], { direction: 'ingress', cidr: '192.0.2.7/32' }],
    [['--to', 'fd12::/64'], { direction: 'egress', cidr: 'fd12::/64' }],
    [['--egress'], { direction: 'egress' }],
  ])('%j says who the other end is', async (argv, rule) => {
    expect((await ran('allow', 'web', 'any', ...argv)).bodies).toEqual([{ protocol: 'any', ...rule }]);
  });

  it.each([
    [['http'], 'TRAFFIC takes 80, 8000-8080/tcp'],
    [['80', '--from', 'db', '--to', 'db'], '--from is for what comes in'],
  ])('refuses %j before anything is asked', async (argv, reason) => {
    const { code, stderr, lines } = await ran('allow', 'web', ...argv);
    expect([code, lines]).toEqual([2, []]);
    expect(stderr).toContain(reason);
  });
});

describe('wirt security-group revoke', () => {
  it('takes what allow took, or ids', async () => {
    const { lines, stdout } = await ran('revoke', 'web', '80', '01KATESTTESTTESTTESTTESTR3');
    expect(lines).toEqual([
      'GET /v1/security-groups/web',
      `${byId}/01KATESTTESTTESTTESTTESTR2`,
      `${byId}/01KATESTTESTTESTTESTTESTR3`,
    ]);
    expect(stdout).toBe(
      'web allows ingress 80/tcp from anybody no more\nweb allows ingress 22/tcp from 192.0.2.0/24 no more\n',
    );
    expect((await ran('revoke', 'web', 'tcp', '22', '--from', '192.0.2.0/24')).code).toBe(0);
  });

  it('removes nothing when one of them is not there', async () => {
    const { code, stderr, lines } = await ran('revoke', 'web', '80', '22');
    expect([code, lines]).toEqual([3, ['GET /v1/security-groups/web']]);
    expect(stderr).toContain('Security group web has no rule ingress 22/tcp from anybody.');
  });
});
