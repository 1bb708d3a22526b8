/** Network cards of an instance: what is chosen where nothing was asked for, and how QEMU is told of them. */
import { type Instance, type Nic, type NicCreate, WirtError } from '@wirt/api';
import type { PlannedNic } from './guest.ts';
import { macOf } from './identity.ts';
import type { NicBackend } from './network-plan.ts';

/** Places for cards: the ports of the machine. */
export const maxNics = 8;

/** A card with its name, slot and MAC address; its addresses are chosen with its network. Throws `request.invalid`, `instance.state_conflict`. */
export function newNic(
  instance: { readonly id: string; readonly name: string },
  others: readonly Nic[],
  input: NicCreate,
): Nic {
  const slots = new Set(others.map(({ slot }) => slot));
  const slot = Array.from({ length: maxNics }, (_, at) => at).find((at) => !slots.has(at));
  if (slot === undefined)
    throw new WirtError(
      'instance.state_conflict',
      `Instance ${instance.name} has ${maxNics} network cards, which is all it can have.`,
    );
  const { name, mac = macOf(instance.id, slot), ...rest } = input;
  return { ...rest, name: freeName(others, name), slot, mac };
}

function freeName(others: readonly Nic[], wanted: string | undefined): string {
  const taken = new Set(others.map(({ name }) => name));
  if (wanted !== undefined) {
    if (!taken.has(wanted)) return wanted;
    throw new WirtError('request.invalid', `There is another network card named ${wanted}.`, {
      hint: 'Choose another name.',
    });
  }
  for (let number = 0; ; number += 1) if (!taken.has(`nic${number}`)) return `nic${number}`;
}

/** Of a card for which no number was asked. */
export const maxDefaultQueues = 8;

/** Queues of a card: as many as asked for, else one for each vCPU, up to a limit; one for models that have no more. */
export function queuesOf({ model, queues }: Pick<Nic, 'model' | 'queues'>, cpus: number): number {
  return model === 'virtio' ? (queues ?? Math.min(cpus, maxDefaultQueues)) : 1;
}

export function plannedNic(nic: Nic, mtu: number, backend: NicBackend): PlannedNic {
  const { name, slot, model, mac, bootOrder } = nic;
  return {
    name,
    slot,
    model,
    mac,
    mtu,
    backend,
    ...(bootOrder === undefined ? {} : { bootIndex: bootOrder }),
  };
}

/** Cards that an instance is made with. */
export function nicsOf(instance: Pick<Instance, 'id' | 'name'>, wanted: readonly NicCreate[]): Nic[] {
  const nics: Nic[] = [];
  for (const input of wanted) nics.push(newNic(instance, nics, input));
  return nics;
}
