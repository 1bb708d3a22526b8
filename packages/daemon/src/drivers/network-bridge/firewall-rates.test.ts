import { describe, expect, it } from 'vitest';
import { guardTable } from './firewall-guard.ts';
import { parseRates } from './firewall-rates.ts';
import { viewOf } from './firewall-view.ts';
import { createNames } from './names.ts';
import { changeScript } from './nft-table.ts';
import { plan, port, second } from './plan.fixture.ts';

const names = createNames('main');
const tap = names.port(port());
const settings = { bridgeName: names.bridge, portName: names.port };
const table = (limits?: Parameters<typeof port>[0]) =>
  guardTable('wirt_main', viewOf({ ...plan, ports: [port(limits), second] }, [], settings));

describe('packets a second', () => {
  const limited = { limits: { ingress: { packetsPerSecond: 500 }, egress: { packetsPerSecond: 20 } } };

  it('are limited for the port alone, and without any there is nothing', () => {
    expect(
      changeScript(table(), table(limited)),
    ).toBe(`add limit bridge wirt_main ingress_${tap}_500 { rate over 500/second burst 50 packets }
add limit bridge wirt_main egress_${tap}_20 { rate over 20/second burst 5 packets }
add map bridge wirt_main rates_ingress { type ifname : limit; }
add map bridge wirt_main rates_egress { type ifname : limit; }
add chain bridge wirt_main rates_ingress { type filter hook postrouting priority -310; policy accept; }
add chain bridge wirt_main rates_egress { type filter hook prerouting priority -310; policy accept; }
add rule bridge wirt_main rates_ingress limit name oifname map @rates_ingress drop
add rule bridge wirt_main rates_egress limit name iifname map @rates_egress drop
add element bridge wirt_main rates_ingress { "${tap}" : "ingress_${tap}_500" }
add element bridge wirt_main rates_egress { "${tap}" : "egress_${tap}_20" }
`);
    expect(changeScript(table(limited), table({ limits: { ingress: { packetsPerSecond: 0 } } }))).toContain(
      `delete limit bridge wirt_main ingress_${tap}_500\n`,
    );
  });

  it('that change are another limit, and the one before goes', () => {
    const faster = { limits: { ...limited.limits, ingress: { packetsPerSecond: 700 } } };
    expect(
      changeScript(table(limited), table(faster)),
    ).toBe(`add limit bridge wirt_main ingress_${tap}_700 { rate over 700/second burst 70 packets }
delete element bridge wirt_main rates_ingress { "${tap}" }
add element bridge wirt_main rates_ingress { "${tap}" : "ingress_${tap}_700" }
delete limit bridge wirt_main ingress_${tap}_500
`);
  });

  /** As nft 1.0.6 lists it. */
  const listed = `table bridge wirt_main {
	limit ingress_${tap}_500 {
		rate over 500/second burst 50 packets
	}

	limit ingress_wtother_7 {
		rate over 7/second
	}

	map rates_ingress {
		type ifname : limit
		elements = { "${tap}" : "ingress_${tap}_500",
			     "wtother" : "ingress_wtother_7",
			     "wtlost" : "nothing" }
	}

	chain rates_ingress {
		type filter hook postrouting priority -310; policy accept;
		limit name oifname map @rates_ingress drop
	}
}
`;

  it('are read from what nft lists: where a rule asks a map that leads to a limit', () => {
    expect([...parseRates(listed, 'ingress')]).toEqual([
      [tap, 500],
      ['wtother', 7],
    ]);
    expect(parseRates(listed, 'egress').size).toBe(0);
    expect(parseRates(listed.replace(/\t\tlimit name.*\n/, ''), 'ingress').size).toBe(0);
    expect(parseRates('', 'ingress').size).toBe(0);
  });
});
