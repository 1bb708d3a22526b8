// The command line of passt for one card. Pure. Source: passt(1).
import type { PublishedPort } from '@wirt/api';
import type { PlannedPort } from '@wirt/core';

export interface PasstFiles {
  readonly socket: string;
  /** Written when it is ready. */
  readonly pid: string;
  readonly log: string;
}

const logBytes = 262_144;

export function passtCommand(
  { publish, mtu }: Pick<PlannedPort, 'publish' | 'mtu'>,
  files: PasstFiles,
): string[] {
  return [
    'passt',
    '--foreground',
    // It ends with the QEMU that has connected to it.
    '--one-off',
    ...['--socket', files.socket],
    ...['--pid', files.pid],
    ...['--log-file', files.log, '--log-size', String(logBytes)],
    // The gateway is the gateway, and not a way to what listens on the host's loopback.
    '--no-map-gw',
    ...['--mtu', String(mtu)],
    ...ports('--tcp-ports', publish, 'tcp'),
    // Said also where there are none: else the numbers of the TCP ports are open.
    ...ports('--udp-ports', publish, 'udp'),
  ];
}

function ports(option: string, all: readonly PublishedPort[], wanted: PublishedPort['protocol']): string[] {
  const own = all.filter(({ protocol }) => protocol === wanted);
  if (own.length === 0) return [option, 'none'];
  return own.flatMap(({ hostAddress, hostPort, guestPort }) => {
    const where = hostAddress === undefined ? '' : `${hostAddress}/`;
    return [option, `${where}${hostPort}:${guestPort}`];
  });
}
