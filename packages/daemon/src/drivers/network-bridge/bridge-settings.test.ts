import { describe, expect, it } from 'vitest';
import { bridgeSettings, mendBridgeSettings, wrongBridgeSettings } from './bridge-settings.ts';
import { createNames } from './names.ts';
import { network, plan } from './plan.fixture.ts';

const names = createNames('main');
const bridge = names.bridge(network.id);
const localnet = `net/ipv4/conf/${bridge}/route_localnet`;

/** What is there; `fixed` takes no change. */
function kernel(more: Record<string, string> = {}, fixed: readonly string[] = []) {
  const values = new Map(Object.entries({ ...bridgeSettings(bridge, network), ...more }));
  return {
    values,
    read: async (name: string) => values.get(name),
    setOwn: async (wanted: Readonly<Record<string, string>>) => {
      for (const [name, value] of Object.entries(wanted)) if (!fixed.includes(name)) values.set(name, value);
    },
  };
}

describe('settings of a bridge', () => {
  it('are right where they are as set, and where there is no bridge', async () => {
    expect(await wrongBridgeSettings(plan, names, kernel())).toEqual([]);
    expect(await wrongBridgeSettings(plan, names, { read: async () => undefined })).toEqual([]);
  });

  it('are set again when somebody has changed them, and it is said which', async () => {
    const changed = kernel({ [localnet]: '0' });
    const wrong = await wrongBridgeSettings(plan, names, changed);
    expect(await mendBridgeSettings(wrong, changed)).toEqual([
      { network: network.id, what: 'the bridge of network default had another route_localnet' },
    ]);
    expect(await wrongBridgeSettings(plan, names, changed)).toEqual([]);
  });

  it('are not said to be mended where they could not be', async () => {
    const stuck = kernel({ [localnet]: '0' }, [localnet]);
    expect(await mendBridgeSettings(await wrongBridgeSettings(plan, names, stuck), stuck)).toEqual([]);
  });
});
