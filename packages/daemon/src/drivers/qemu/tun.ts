// Lets guests open taps. Only /dev/net/tun is opened by everybody; whose a tap is, the kernel checks itself, and says that there is
// "no harm in allowing the device to be accessible by non-root users" (Documentation/networking/tuntap.rst). udev makes it so.
import { chmod, stat } from 'node:fs/promises';
import { WirtError } from '@wirt/api';
import type { Logger } from '@wirt/core';

const tun = '/dev/net/tun';
const everybody = 0o666;

/** Throws `host.permission_denied` where it is closed and is not ours to open, `network.unsupported` where there is none. */
export async function openTun(logger: Logger, path: string = tun): Promise<void> {
  const hint = `As root: modprobe tun; chmod 0666 ${path}`;
  let mode: number;
  try {
    ({ mode } = await stat(path));
  } catch (cause) {
    throw new WirtError('network.unsupported', `The host has no ${path}, by which guests open taps.`, {
      cause,
      hint,
    });
  }
  if ((mode & everybody) === everybody) return;
  try {
    await chmod(path, everybody);
    logger.info('host.tun_opened', { path, mode: (mode & 0o777).toString(8) });
  } catch (cause) {
    throw new WirtError(
      'host.permission_denied',
      `${path} opens for root only, and guests run under their own uid.`,
      {
        cause,
        hint,
      },
    );
  }
}
