// Judges what the host has for networks of guests: the programs of the bridge driver, passt, and the device of taps. Pure.
import type { HostFinding } from '@wirt/api';
import type { HostFacts } from '../facts.ts';

/** What is looked for, and which Debian package has it. */
export const networkTools = {
  ip: 'iproute2',
  nft: 'nftables',
  dnsmasq: 'dnsmasq-base',
  passt: 'passt',
} as const;

type NetworkTool = keyof typeof networkTools;

const bridgeTools = ['ip', 'nft', 'dnsmasq'] as const satisfies readonly NetworkTool[];

export function networkFindings(facts: HostFacts): HostFinding[] {
  return [bridges(facts), userMode(facts), tun(facts)];
}

function bridges({ tools, host: { security } }: HostFacts): HostFinding {
  const head = { id: 'networks', title: 'Networks' };
  const absent = bridgeTools.filter((name) => tools[name] !== true);
  if (!security.privileged)
    return {
      ...head,
      level: 'better',
      found: 'user mode, since wirtd is no root',
      why: 'Guests reach out and ports can be published; they do not reach each other, and there are no security groups.',
      fix: 'sudo wirtd  # or install it as a service: docs/howto/install-with-systemd.md',
    };
  if (absent.length === 0)
    return {
      ...head,
      level: 'ok',
      found: bridgeTools.join(', '),
      why: 'Guests can have networks of their own, with addresses, names and security groups.',
    };
  return {
    ...head,
    level: 'missing',
    found: `without ${absent.join(', ')}`,
    why: 'Guests have the network of user mode only: they do not reach each other, and there are no security groups.',
    fix: `apt-get install -y --no-install-recommends ${absent.map((name) => networkTools[name]).join(' ')}`,
  };
}

function userMode({ tools, host: { qemu } }: HostFacts): HostFinding {
  const head = { id: 'passt', title: 'User-mode network' };
  const features = qemu?.features ?? {};
  const reconnects = features['stream-reconnect'] === true || features['stream-reconnect-ms'] === true;
  if (reconnects && tools['passt'] === true)
    return {
      ...head,
      level: 'ok',
      found: 'passt',
      why: 'Guests of the user-mode network are out of QEMU’s own TCP/IP, and do not reach the host’s loopback.',
    };
  const why =
    'The user-mode network is QEMU’s own (slirp): slower, and what listens on the host’s 127.0.0.1 can be reached by guests on it. Bridged networks lose nothing.';
  if (reconnects) return { ...head, level: 'better', found: 'slirp', why, fix: 'apt-get install -y passt' };
  return {
    ...head,
    level: 'better',
    found: 'slirp, since this QEMU does not connect to passt again when it was lost',
    why,
    fix: 'install QEMU 8.0 or newer  # on Debian 12: from bookworm-backports',
  };
}

function tun({ tun: mode, host: { security } }: HostFacts): HostFinding {
  const head = { id: 'tun', title: 'TUN/TAP' };
  const device = '/dev/net/tun';
  if (mode === undefined)
    return {
      ...head,
      level: 'missing',
      found: `no ${device}`,
      why: 'No guest can be on a bridged network. The user-mode network loses nothing.',
      fix: 'modprobe tun',
    };
  if ((mode & 0o666) === 0o666)
    return { ...head, level: 'ok', found: device, why: 'Guests open their own taps, and no others.' };
  return {
    ...head,
    level: 'better',
    found: `${device} is closed to ordinary users`,
    why: security.privileged
      ? 'wirtd opens it with the first guest that has a tap. No harm is in it: the kernel checks whose a tap is.'
      : 'Guests cannot open taps that were made for them.',
    fix: `chmod 0666 ${device}`,
  };
}
