import { describe, expect, it } from 'vitest';
import { runWirt, startScriptedDaemon } from '../scripted-daemon.ts';

const rule = '01KATESTTESTTESTTESTTESTR2';
const passing = {
  verdict: 'passes',
  from: 'web/nic0',
  to: 'db/nic0',
  steps: [
    { at: 'card web/nic0', verdict: 'passes', why: 'It is its own address.' },
    { at: 'group db', verdict: 'passes', rule, why: 'Allows 5432/tcp from group web.' },
  ],
};
const dropped = {
  ...passing,
  verdict: 'dropped',
  steps: [
    ...passing.steps.slice(0, 1),
    { at: 'card db/nic0', verdict: 'dropped', why: 'No rule allows it.' },
  ],
};

async function ran(result: object, ...argv: readonly string[]) {
  await using daemon = await startScriptedDaemon({ 'POST /v1/network-traces': () => ({ json: result }) });
  const answer = await runWirt(['network', 'trace', ...argv], { daemon });
  return { ...answer, json: daemon.asked[0]?.json };
}

describe('wirt network trace', () => {
  it('prints the way step by step, and the rule that decides', async () => {
    const { code, stdout, json } = await ran(passing, 'web', 'db', '--port', '5432');
    expect(code).toBe(0);
    expect(json).toEqual({
      ...{ from: 'web', to: 'db', protocol: 'tcp', port: 5432, family: 'ipv4', live: false },
    });
    expect(stdout).toBe(
      [
        'web to db, tcp port 5432, IPv4',
        '  AT             VERDICT  RULE                        WHY',
        '  card web/nic0  passes   -                           It is its own address.',
        `  group db       passes   ${rule}  Allows 5432/tcp from group web.`,
        '',
        `It passes at group db by rule ${rule}.`,
        '',
      ].join('\n'),
    );
  });

  it('ends with 6 when it is dropped', async () => {
    const { code, stdout } = await ran(dropped, 'web', 'db', '--port', '22');
    expect([code, stdout.split('\n').at(-2)]).toEqual([6, 'It is dropped at card db/nic0.']);
    expect(await ran(dropped, 'web', 'db', '-p', '22', '-o', 'name')).toMatchObject({
      code: 6,
      stdout: 'dropped\n',
    });
  });

  it('--live sends a packet, whose fate counts', async () => {
    const live = { verdict: 'dropped', expected: 'passes', why: 'No answer within 1 s.' };
    const { code, stdout, json } = await ran({ ...passing, live }, 'web', 'db', '-p', '5432', '--live');
    expect(json).toMatchObject({ live: true });
    expect(code).toBe(6);
    expect(stdout).toContain('Live: dropped. No answer within 1 s.\nThe packet fared otherwise');
  });

  it('--live says of no packet that it contradicts what the records say of another', async () => {
    const live = { verdict: 'dropped', expected: 'dropped', why: 'Its address is not web’s.' };
    const { code, stdout } = await ran({ ...passing, live }, 'web', 'db', '-p', '5432', '--live');
    expect(code).toBe(0);
    expect(stdout).toContain('Live: dropped. Its address is not web’s.\n');
    expect(stdout).not.toContain('fared otherwise');
  });

  it('asks by IPv6 where an end is an IPv6 address, and pings by ICMP', async () => {
    const byAddress = await ran(passing, 'fd12::7', 'db', '--port', '53', '--protocol', 'udp');
    expect(byAddress.json).toMatchObject({ protocol: 'udp', family: 'ipv6' });
    const ping = await ran(passing, 'web', 'db', '--protocol', 'icmp', '--ipv6');
    expect(ping.json).toEqual({
      ...{ from: 'web', to: 'db', protocol: 'icmp', family: 'ipv6', live: false },
    });
  });

  it.each([
    [['web', 'db'], 'wirt network trace needs --port PORT.'],
    [['192.0.2.7', 'web', '--port', '80', '--live'], '--live cannot send as 192.0.2.7 does'],
    [['fd12::7', 'web', '--port', '80', '--live'], '--live cannot send as fd12::7 does'],
    [['web', 'db', '--protocol', 'icmp', '--port', '8'], 'ICMP has no ports: leave out --port.'],
  ])('refuses %j', async (argv, reason) => {
    const { code, stderr, json } = await ran(passing, ...argv);
    expect([code, json]).toEqual([2, undefined]);
    expect(stderr).toContain(reason);
  });
});
