import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dhcpMessage, offered, serveDhcp } from './firewall-dhcp.fixture.ts';
import { createScene, type Guest, ports, type Scene } from './firewall-scene.fixture.ts';

// Namespaces and tables of the kernel can only be made by root.
describe.skipIf(process.geteuid?.() !== 0)('the firewall before a DHCP server, with packets', () => {
  let scene: Scene;
  let dhcp: AsyncDisposable;

  beforeAll(async () => {
    scene = await createScene();
    await scene.apply();
    dhcp = await serveDhcp(scene.host, 'wblan', '10.80.0.0', [ports.a, ports.b]);
  });
  afterAll(async () => {
    await dhcp[Symbol.asyncDispose]();
    await scene[Symbol.asyncDispose]();
  });

  const server = '10.80.0.1';
  const leaseOf = async (guest: Guest): Promise<string | undefined> => {
    const payloadHex = dhcpMessage({ type: 'discover', mac: ports[guest].mac });
    return offered(await scene.guests[guest].ask('udp', server, 67, { fromPort: 68, payloadHex }));
  };

  it('gives a guest its lease, whatever another declines or gives back in its name', async () => {
    expect(await leaseOf('a')).toBe('10.80.0.2');
    const before = await scene.spoofed('b');
    for (const type of ['release', 'decline'] as const) {
      const payloadHex = dhcpMessage({ type, mac: ports.a.mac, address: '10.80.0.2', server });
      await scene.guests.b.knock('udp', server, 67, { fromPort: 68, payloadHex });
    }
    expect(await leaseOf('a')).toBe('10.80.0.2');
    expect(await scene.spoofed('b')).toBe(before + 2);
    expect(await leaseOf('b')).toBe('10.80.0.3');
  });

  it('drops what is too short to say whose it is', async () => {
    const before = await scene.spoofed('b');
    const payloadHex = dhcpMessage({ type: 'discover', mac: ports.b.mac }).slice(0, 2 * 33);
    await scene.guests.b.knock('udp', server, 67, { fromPort: 68, payloadHex });
    expect(await scene.spoofed('b')).toBe(before + 1);
  });
});
