import { expect, it } from 'vitest';
import { passtCommand } from './passt-command.ts';

const files = { socket: '/run/sock', pid: '/run/pid', log: '/run/log' };
const publish = [
  { protocol: 'tcp', hostPort: 8080, guestPort: 80 },
  { protocol: 'tcp', hostAddress: '127.1.2.3', hostPort: 20_022, guestPort: 22 },
  { protocol: 'tcp', hostAddress: '::1', hostPort: 8443, guestPort: 443 },
] as const;

it('the command line of passt has each published port with its address, and no UDP port that was not asked for', () => {
  expect(passtCommand({ publish, mtu: 1500 }, files).join(' ')).toBe(
    'passt --foreground --one-off --socket /run/sock --pid /run/pid --log-file /run/log --log-size 262144 --no-map-gw ' +
      '--mtu 1500 --tcp-ports 8080:80 --tcp-ports 127.1.2.3/20022:22 --tcp-ports ::1/8443:443 --udp-ports none',
  );
  const dns = [{ protocol: 'udp', hostPort: 5353, guestPort: 53 }] as const;
  expect(passtCommand({ publish: dns, mtu: 1400 }, files).slice(-6)).toEqual([
    '--mtu',
    '1400',
    '--tcp-ports',
    'none',
    '--udp-ports',
    '5353:53',
  ]);
});
