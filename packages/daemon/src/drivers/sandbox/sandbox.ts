// Gives every guest on the machine a uid of its own, of any daemon's, and proves from /proc how a process is confined. What is
// claimed survives the daemon; who runs as what is dropped into before exec is the launcher's work.
import { readFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { WirtError } from '@wirt/api';
import type { Identity, Logger, Sandbox } from '@wirt/core';
import { fsError } from '../../platform/fs-error.ts';
import { type Claims, createClaims } from './claims.ts';
import { inspectProcess } from './inspect.ts';
import { createUidScan } from './processes.ts';
import { defaultUidRange, occupiedBy, startOffset, type UidRange } from './uid-range.ts';

export interface SandboxOptions {
  /** Short id of this daemon. */
  readonly tag: string;
  readonly uidRange?: UidRange;
  /** Shared by all daemons of the machine, and emptied by a boot as the processes are. */
  readonly claimDirectory?: string;
  readonly logger: Logger;
  /** Whether something may still be open to a uid that was lent to it: it is not given to another then. */
  readonly isLentTo?: (uid: number) => boolean;
  /** Where guests that need KVM look for it. */
  readonly kvmDevice?: string;
}

export function createSandbox(options: SandboxOptions): Sandbox {
  if (process.geteuid?.() !== 0) return createUnprivilegedSandbox();
  const { kvmDevice = '/dev/kvm' } = options;
  const { claimDirectory = '/run/wirt-uids' } = options;
  const keeper = createUidKeeper({ ...options, claimDirectory });
  const explained = async <T>(operation: string, work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      throw fsError(error, operation, claimDirectory);
    }
  };
  return {
    async claim(id, needs) {
      const groups = needs.kvm ? await kvmGroups(kvmDevice) : [];
      const uid = await explained(`claim a uid for ${id} in`, () => keeper.claim(id));
      return { uid, gid: uid, groups, own: true };
    },
    release: (id) => explained(`give back the uid of ${id} in`, () => keeper.release(id)),
    claimed: () => explained('list the claimed uids in', () => keeper.claimed()),
    inspect: inspectProcess,
  };
}

interface UidKeeper {
  claim(id: string): Promise<number>;
  release(id: string): Promise<void>;
  claimed(): Promise<string[]>;
}

/** Remembers this daemon's claims, so that a start does not read all of them; the files stay the truth. */
function createUidKeeper(options: SandboxOptions & { readonly claimDirectory: string }): UidKeeper {
  const { tag, uidRange = defaultUidRange, claimDirectory, isLentTo = () => false, logger } = options;
  const claims = createClaims(claimDirectory, tag);
  const findFree = createFinder(claims, uidRange, logger);
  const pending = new Map<string, Promise<number>>();
  let known: Promise<Map<string, number>> | undefined;
  const ownClaims = (): Promise<Map<string, number>> => {
    known ??= claims.own().catch((error: unknown) => {
      known = undefined;
      throw error;
    });
    return known;
  };

  /** The uid that the id has, its file made again if somebody took it away and nobody else has it since. */
  async function again(id: string): Promise<number | undefined> {
    const uid = (await ownClaims()).get(id);
    if (uid === undefined) return undefined;
    if (await claims.take(uid, id)) logger.warn('sandbox.claim_was_lost', { id, uid });
    return (await claims.isOwn(uid, id)) ? uid : undefined;
  }

  async function claimOnce(id: string): Promise<number> {
    const uid = (await again(id)) ?? (await findFree(id));
    (await ownClaims()).set(id, uid);
    return uid;
  }

  return {
    claim(id) {
      const claiming = pending.get(id) ?? claimOnce(id).finally(() => pending.delete(id));
      pending.set(id, claiming);
      return claiming;
    },
    async release(id) {
      const own = await ownClaims();
      const uid = own.get(id);
      if (uid === undefined) return;
      if (isLentTo(uid)) throw stillLent(uid, id);
      await claims.drop(uid, id);
      own.delete(id);
    },
    async claimed() {
      return [...(await claims.own()).keys()].toSorted();
    },
  };
}

function stillLent(uid: number, id: string): WirtError {
  return new WirtError(
    'volume.failed',
    `The uid ${uid} of ${id} is kept: files lent to it were not taken back.`,
    {
      hint: 'See why in the log; wirtd takes them back when it starts: systemctl restart wirtd',
      details: { id, uid },
    },
  );
}

/** Takes the first uid from the id's own starting place on that nobody has, in any of the ways there are to have it. */
function createFinder(claims: Claims, range: UidRange, logger: Logger): (id: string) => Promise<number> {
  const uidsWithProcess = createUidScan(range);
  return async (id) => {
    const isOccupied = readAccounts();
    const taken = await claims.taken();
    const start = startOffset(id, range.count);
    for (let step = 0; step < range.count; step += 1) {
      const uid = range.first + ((start + step) % range.count);
      if (taken.has(uid) || isOccupied(uid) || !(await claims.take(uid, id))) continue;
      if (!(await uidsWithProcess()).has(uid)) return uid;
      logger.warn('sandbox.uid_has_process', { uid });
      await claims.drop(uid, id);
    }
    throw new WirtError('host.uids_exhausted', `No uid is free for ${id}.`, {
      hint: `Remove what stopped guests left, or give wirtd more than ${range.count} uids with --uid-count.`,
      details: { first: range.first, count: range.count },
    });
  };
}

/** Without root nobody can become another user: guests run as the daemon's own, and nothing is claimed. */
function createUnprivilegedSandbox(): Sandbox {
  return {
    claim: () =>
      Promise.resolve({
        // Linux always has these; without them Node would not run here.
        uid: process.geteuid?.() ?? 0,
        gid: process.getegid?.() ?? 0,
        groups: process.getgroups?.() ?? [],
        own: false,
      } satisfies Identity),
    release: () => Promise.resolve(),
    claimed: () => Promise.resolve([]),
    inspect: inspectProcess,
  };
}

/** Read at every claim, since accounts come and go; a missing file has no accounts. */
function readAccounts() {
  const read = (path: string): string => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return '';
    }
  };
  return occupiedBy([read('/etc/passwd'), read('/etc/group')], [read('/etc/subuid'), read('/etc/subgid')]);
}

/** The group through which a guest's own uid may open KVM; none when everybody may. */
export async function kvmGroups(device: string): Promise<number[]> {
  const hint = 'Give it to a group: `groupadd -rf kvm && chgrp kvm /dev/kvm && chmod 660 /dev/kvm`.';
  const found = await stat(device).catch((cause: unknown) => {
    throw new WirtError('host.kvm_unusable', `${device} cannot be given to a guest.`, { cause });
  });
  if ((found.mode & 0o006) === 0o006) return [];
  // Group root would open far more than KVM to the guest.
  if ((found.mode & 0o060) === 0o060 && found.gid !== 0) return [found.gid];
  throw new WirtError('host.kvm_unusable', `${device} opens for root only, and guests do not run as root.`, {
    hint,
    details: { mode: (found.mode & 0o777).toString(8), gid: found.gid },
  });
}
