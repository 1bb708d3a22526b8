// The network cards of a running guest, plugged in and out. A netdev without its card, which holds the end on the host open, is
// closed when the command that left it fails, when the guest lets go of the card however late, and before the name is used again.
// Source: QEMU qapi/net.json, qapi/qdev.json.
import { WirtError } from '@wirt/api';
import type { GuestNics, Logger, PlannedNic } from '@wirt/core';
import type { QmpEvent } from '@wirt/qemu';
import { serially } from '../../platform/serial.ts';
import { type Ask, isRefusal, machineOf, noAbort } from './control.ts';
import { refused } from './disk-context.ts';
import { netdev, netdevOf, nicDevice, nicDeviceOf, nicOfDevice } from './nic-devices.ts';
import { createUnplugs } from './unplug.ts';

export interface NicsLink extends GuestNics {
  onEvent(event: QmpEvent): void;
}

export interface NicsOptions {
  readonly id: string;
  readonly ask: Ask;
  readonly logger: Logger;
  /** Lets the guest's process open the taps it owns. */
  openTun(): Promise<void>;
}

const peripherals = '/machine/peripheral';

export function createNics({ id, ask, logger, openTun }: NicsOptions): NicsLink {
  const exclusively = serially();
  const unplugs = createUnplugs({
    id,
    ask,
    code: 'network.detach_refused',
    nameOf: (nic) => `network card ${nic}`,
    deviceOf: nicDeviceOf,
  });

  return {
    onEvent(event) {
      if (unplugs.onEvent(event) || event.event !== 'DEVICE_DELETED') return;
      const name = nicOfDevice(event.data.device ?? '');
      if (name === undefined) return;
      // A guest that lets go of a card long after it was asked to.
      exclusively(() => closeUnused(ask, name)).catch((error: unknown) => {
        logger.warn('guest.nic_not_closed', { id, nic: name, error });
      });
    },
    attach: (nic, signal) =>
      exclusively(async () => {
        if (nic.backend.type === 'tap') await openTun();
        await attachNic({ id, ask }, nic, signal);
      }),
    async detach(name, signal) {
      await unplugs.unplug(name, signal);
      await exclusively(() => closeUnused(ask, name));
    },
    list: (signal) => pluggedIn(ask, signal),
  };
}

async function attachNic(
  { id, ask }: Pick<NicsOptions, 'id' | 'ask'>,
  nic: PlannedNic,
  signal: AbortSignal,
): Promise<void> {
  const what = `Network card ${nic.name} could not be plugged into instance ${id}.`;
  if ((await pluggedIn(ask, signal)).includes(nic.name)) {
    // The work of a daemon that died after it.
    if (await isSame(ask, nic, signal)) return;
    const cause = new Error('There is a network card of this name with another MAC address.');
    throw new WirtError('instance.state_conflict', what, { cause });
  }
  const machine = await machineOf(ask, signal);
  if (machine === 'microvm') {
    const cause = new Error('A microvm takes no network card while the guest runs.');
    const hint = `Stop the instance first: \`wirt stop ${id}\`.`;
    throw new WirtError('instance.state_conflict', what, { cause, hint });
  }
  await closeUnused(ask, nic.name);
  signal.throwIfAborted();
  try {
    // QEMU may do either all the same when nobody waits for it any more.
    await ask('netdev_add', netdev(nic), noAbort);
    await ask('device_add', nicDevice(nic, machine), noAbort);
  } catch (error) {
    await closeUnused(ask, nic.name).catch(() => {});
    throw refused(error, 'instance.state_conflict', what, portHint(error, id));
  }
}

/** As QEMU has them; it knows them by nothing but the id that we gave. */
async function pluggedIn(ask: Ask, signal: AbortSignal): Promise<string[]> {
  const devices = await ask('qom-list', { path: peripherals }, signal);
  return devices.flatMap(({ name }) => nicOfDevice(name) ?? []);
}

async function isSame(ask: Ask, { name, mac }: PlannedNic, signal: AbortSignal): Promise<boolean> {
  const path = `${peripherals}/${nicDeviceOf(name)}`;
  return (await ask('qom-get', { path, property: 'mac' }, signal)) === mac;
}

/** Closes the card's end on the host, but never under a card: that would be without a link for good. */
async function closeUnused(ask: Ask, name: string): Promise<void> {
  if ((await pluggedIn(ask, noAbort)).includes(name)) return;
  try {
    await ask('netdev_del', { id: netdevOf(name) }, noAbort);
  } catch (error) {
    if (!isRefusal(error) || error.class !== 'DeviceNotFound') throw error;
  }
}

function portHint(error: unknown, id: string): string | undefined {
  return isRefusal(error) && /^Bus 'netport\d+' not found/.test(error.desc)
    ? `The guest was started by an earlier version and gets ports for cards at its next start: \`wirt stop ${id}\`, \`wirt start ${id}\`.`
    : undefined;
}
