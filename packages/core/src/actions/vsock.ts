/**
 * The address (CID) of a guest on the host's vsock: the smallest that no instance of this daemon has, noted before QEMU is told of it, and
 * kept over stop and start. Whether another program has it only the kernel knows, when QEMU asks for it.
 */
import { type Instance, WirtError } from '@wirt/api';
import type { LaunchPlan } from '../domain/guest.ts';
import type { Shared } from './parts.ts';
import { commit } from './records.ts';

/** 0 to 2 are the hypervisor, the machine itself and the host (vsock(7)). */
const firstCid = 3;
const lane = 'vsock';
/** Addresses of others in a row that a guest is moved on past at its first start. */
const maxMoves = 16;

interface VsockGround {
  /** Of an instance that is being made. */
  readonly isNew?: boolean;
  /** That is to start it. */
  readonly qemu?: Awaited<ReturnType<Shared['host']['requireQemu']>>;
}

/** Throws `host.vsock_missing`. */
export async function requireVsock(
  { host }: Pick<Shared, 'host'>,
  { name, spec }: Pick<Instance, 'name' | 'spec'>,
  { isNew = false, qemu }: VsockGround = {},
): Promise<void> {
  if (spec.vsock !== true) return;
  const without = `or do without${isNew ? ', and leave out `--vsock`' : `: \`wirt set ${name} vsock=off\``}`;
  if (qemu !== undefined && qemu.features['vhost-vsock'] !== true)
    throw new WirtError(
      'host.vsock_missing',
      `Instance ${name} is to have a vsock, and this QEMU has none for it.`,
      {
        cause: new Error(`QEMU ${qemu.version} was built without vhost-vsock-pci.`),
        hint: `Have wirtd use another QEMU, by \`--qemu\`; ${without}.`,
      },
    );
  if (await host.hasVsock()) return;
  throw new WirtError('host.vsock_missing', `Instance ${name} is to have a vsock, and this host has none.`, {
    cause: new Error('There is no /dev/vhost-vsock.'),
    hint: `Load the module: \`modprobe vhost_vsock\`; ${without}.`,
  });
}

/** An address that is not used any more is anybody's, and it may ask for another. */
export function withoutCid({ status }: Instance, { vsock }: Instance['spec']): Instance['status'] {
  return vsock === true || status.run?.vsock === true ? status : { ...status, vsockCid: undefined };
}

type Cids = Pick<Shared, 'instances' | 'lanes' | 'store'>;

export interface VsockCids {
  /**
   * Starts QEMU by `launch`, with the address that the instance has or is given now, where it asks for one. One that has never had its address
   * before is given the next when another program turns out to have it. Throws `host.vsock_cid_taken` for one whose address is known by now.
   */
  launch<T>(instance: Instance, plan: LaunchPlan, launch: (plan: LaunchPlan) => Promise<T>): Promise<T>;
}

export function createVsockCids({ instances, lanes, store }: Cids): VsockCids {
  /** Seen to be other programs', since this daemon was started. */
  const foreign = new Set<number>();

  /** What the instance has, or else is given; undefined where it asks for none. */
  function lend(id: string): Promise<number | undefined> {
    return lanes.run(lane, async () => {
      const instance = instances.require(id);
      if (instance.spec.vsock !== true) return undefined;
      const others = new Set<number>();
      for (const { id: other, spec, status } of instances.after())
        if (other !== id && (spec.vsock === true || status.run?.vsock === true))
          if (status.vsockCid !== undefined) others.add(status.vsockCid);
      const { vsockCid: kept } = instance.status;
      if (kept !== undefined && !others.has(kept)) return kept;
      let vsockCid = firstCid;
      while (others.has(vsockCid) || foreign.has(vsockCid)) vsockCid += 1;
      await commit(store, [instances.put({ ...instance, status: { ...instance.status, vsockCid } })]);
      return vsockCid;
    });
  }

  async function forget(id: string): Promise<void> {
    const instance = instances.require(id);
    const status = { ...instance.status, vsockCid: undefined };
    await commit(store, [instances.put({ ...instance, status })]);
  }

  return {
    async launch(instance, plan, launch) {
      const { vsockCid: known } = instance.status;
      for (let moves = 0; ; moves += 1) {
        const vsockCid = await lend(instance.id);
        if (vsockCid === undefined) return launch(plan);
        try {
          return await launch({ ...plan, vsockCid });
        } catch (error) {
          if (!(error instanceof WirtError && error.code === 'host.vsock_cid_taken')) throw error;
          foreign.add(vsockCid);
          if (vsockCid === known || moves >= maxMoves) throw error;
          await forget(instance.id);
        }
      }
    },
  };
}
