/** Says of a guest's cards how their packets are carried, and why. Pure. */
import type { Host, Instance, Nic, TuningSetting } from '@wirt/api';
import { maxDefaultQueues, queuesOf } from '../nic.ts';

export interface NetworkGround {
  readonly host: Pick<Host, 'vhostNet'>;
  readonly networkDriver: 'bridge' | 'user';
}

const asRoot = 'on a host where wirtd runs as root, with `--network-driver bridge`';

export function networkSettings({ spec, status }: Instance, ground: NetworkGround): TuningSetting[] {
  const cpus = status.run?.cpus ?? spec.cpus;
  return [vhost(ground), ...spec.nics.map((nic) => queues(nic, cpus, ground))];
}

function vhost({ host, networkDriver }: NetworkGround): TuningSetting {
  const setting = 'network.vhost';
  if (networkDriver === 'user')
    return {
      ...{ setting, value: 'no', from: 'host' },
      why: 'In user mode packets are carried by a program, and not by the kernel.',
      better: `vhost-net, ${asRoot}.`,
    };
  return {
    setting,
    value: host.vhostNet ? 'yes' : 'no',
    from: 'host',
    why: 'Packets are carried by the kernel, and not by QEMU.',
    ...(host.vhostNet ? {} : { better: 'vhost-net, once the module is loaded: `modprobe vhost_net`.' }),
  };
}

function queues(nic: Nic, cpus: number, { networkDriver }: NetworkGround): TuningSetting {
  const setting = `network.${nic.name}.queues`;
  const wanted = queuesOf(nic, cpus);
  if (nic.model !== 'virtio')
    return { setting, value: '1', from: 'spec', why: `The model ${nic.model} has no more.` };
  if (networkDriver === 'user')
    return {
      ...{ setting, value: '1', from: 'host', why: 'In user mode a card has no more.' },
      ...(wanted > 1 ? { better: `${wanted}, ${asRoot}.` } : {}),
    };
  if (nic.queues !== undefined) return { setting, value: String(wanted), from: 'spec', why: 'As asked for.' };
  return {
    setting,
    value: String(wanted),
    from: 'default',
    why: `One for each vCPU of its start, so that none waits for another, and ${maxDefaultQueues} at most: each more takes memory and interrupts also when it is idle.`,
  };
}
