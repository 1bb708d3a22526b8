// DHCP for tests with real packets: messages as a guest sends them (RFC 2131), and a real dnsmasq that answers on a bridge.
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { LabPlace } from './firewall-lab.fixture.ts';

const types = { discover: 1, decline: 4, release: 7 } as const;
const broadcastFlag = 0x8000;
const cookie = '63825363';

export interface DhcpMessage {
  readonly type: keyof typeof types;
  readonly mac: string;
  /** The address that is asked for, declined or given back. */
  readonly address?: string;
  readonly server?: string;
}

/** In hexadecimal. */
export function dhcpMessage({ type, mac, address, server }: DhcpMessage): string {
  const fixed = Buffer.alloc(236);
  fixed.set([1, 1, 6, 0]);
  fixed.writeUInt32BE(0x57697274, 4);
  fixed.writeUInt16BE(broadcastFlag, 10);
  if (type === 'release' && address !== undefined) fixed.set(bytesOf(address), 12);
  fixed.set(Buffer.from(mac.replaceAll(':', ''), 'hex'), 28);
  const option = (code: number, value: readonly number[]): number[] => [code, value.length, ...value];
  const options = [
    ...option(53, [types[type]]),
    ...(type === 'release' || address === undefined ? [] : option(50, bytesOf(address))),
    ...(server === undefined ? [] : option(54, bytesOf(server))),
    255,
  ];
  return fixed.toString('hex') + cookie + Buffer.from(options).toString('hex');
}

/** The address that an answer offers. */
export function offered(answerHex: string | undefined): string | undefined {
  return answerHex === undefined ? undefined : Buffer.from(answerHex, 'hex').subarray(16, 20).join('.');
}

function bytesOf(address: string): number[] {
  return address.split('.').map(Number);
}

/** Static leases only, by MAC address. */
export async function serveDhcp(
  { enter }: LabPlace,
  bridge: string,
  subnet: string,
  leases: readonly { readonly mac: string; readonly ipv4?: string }[],
): Promise<AsyncDisposable> {
  const directory = await mkdtemp(join(tmpdir(), 'wirt-dhcp-'));
  const words = [
    ...['--keep-in-foreground', '--conf-file=/dev/null', '--port=0', '--user=root', '--group=root'],
    ...[`--interface=${bridge}`, '--except-interface=lo', '--bind-interfaces', '--pid-file='],
    ...['--log-facility=-', '--dhcp-authoritative', '--no-ping', `--dhcp-leasefile=${join(directory, 'l')}`],
    `--dhcp-range=${subnet},static,255.255.255.0,1h`,
    ...leases.flatMap(({ mac, ipv4 }) => (ipv4 === undefined ? [] : [`--dhcp-host=${mac},${ipv4}`])),
  ];
  const [program, ...first] = enter;
  const child = spawn(program, [...first, 'dnsmasq', ...words], { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = Promise.withResolvers<void>();
  const ready = Promise.withResolvers<void>();
  child.once('exit', () => {
    ended.resolve();
    ready.reject(new Error('dnsmasq has ended.'));
  });
  createInterface({ input: child.stderr }).on('line', (line) => {
    if (line.includes('static leases only')) ready.resolve();
  });
  await ready.promise;
  return {
    async [Symbol.asyncDispose]() {
      child.kill();
      await ended.promise;
      await rm(directory, { recursive: true });
    },
  };
}
